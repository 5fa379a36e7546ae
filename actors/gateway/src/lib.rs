//! Server end of the links: one session per connected client, blob admission, routing by role.
