"""What ``sansio-sse check`` is made of: it asks a server for its stream a few times, and judges.

* :mod:`.scan` looks at the bytes of one event stream, line by line;
* :mod:`.reception` is one request and all that came back, with the time at which it came;
* :mod:`.findings` is the list of everything that can be found, and why it matters;
* :mod:`.judge`, with :mod:`.lumps` and :mod:`.resumption`, turns receptions into findings;
* :mod:`.report` writes findings down;
* :mod:`.probe` is the network, and the only module here that touches it or looks at a clock.

Nothing here knows of arguments or of exit codes.
"""
