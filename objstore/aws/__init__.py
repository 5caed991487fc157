"""What the faces of a region share: requests and answers, the regions themselves, tokens."""
