"""Back to the customer over HTTP: what waits in the outbox is sent, tried again, parked."""
