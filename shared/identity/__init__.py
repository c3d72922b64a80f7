"""Who the caller is: access tokens verified, and the profile that goes with one."""
