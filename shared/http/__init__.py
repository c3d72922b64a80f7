"""The only package of ``shared`` that knows a web framework: app factory, errors as answers, routes of the API."""
