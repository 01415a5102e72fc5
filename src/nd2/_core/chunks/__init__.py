"""From decoded metadata trees to the public structures: pure functions, one module for each kind of chunk."""
