"""book -- a guest-book as a site of a few thousand lines would be built: sessions, users, an API, replicas."""
