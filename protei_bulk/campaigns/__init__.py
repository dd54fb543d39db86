"""From a list of recipients to messages: states, texts, sending windows, expansion."""
