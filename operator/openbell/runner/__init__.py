"""The trading process of one scheduler: loops, gate, fence and what tells people about them."""
