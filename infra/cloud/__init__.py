"""What has to exist in a Google Cloud project before the functions can run there."""
