"""Object stores: a directory, or a bucket of S3 or of what speaks its protocol."""
