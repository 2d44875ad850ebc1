"""What a person on call reads: metrics and logs."""
