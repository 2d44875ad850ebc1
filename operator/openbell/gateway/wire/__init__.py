"""The protocol as bytes and values, without a socket: frames, fields, what clients ask and what they are told."""
