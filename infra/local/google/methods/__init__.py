"""The methods of the Gmail API, one module for each kind of resource, after discovery revision 20261005."""
