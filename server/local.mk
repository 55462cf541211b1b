# The storage server.
