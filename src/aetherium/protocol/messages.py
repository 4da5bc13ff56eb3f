"""The requests that an agent answers, one stream each (see guest.md, "Requests").

A REQUEST carries ``[method, params, window]``; params is a map. Values below are those of pack.py. `stat`
stands for ``{path, kind, size, mode, uid, gid, mtime_ns, target}``, `result` and `spec` for the maps that
protocol/values.py makes from ExecutionResult and ExecutionSpec.

==================  ============================================  ============================================
method              params                                        answer
==================  ============================================  ============================================
``ping``            {}                                            {}
``identify``        {hostname, machine_id, seed: bytes, time_ns}  {}
``metrics``         {}                                            map of the fields of GuestMetrics
``power_off``       {}                                            {}, then the VM powers off
``exec.start``      {id, spec}                                    {pid}
``exec.attach``     {id, stdout, stderr, token: bytes}            EVENT {stdin}, OUTPUT…, then `result`; takes
                                                                  DATA and END as stdin
``exec.run``        {id, spec, stdout, stderr, token: bytes,      start and attach in one; what cannot be
                    input: bytes, eof: bool}                      started answers with a failed `result`
``exec.signal``     {id, signal}                                  {}
``exec.kill``       {id}                                          {}
``exec.resize``     {id, rows, columns}                           {}
``exec.list``       {}                                            EVENT [{id, state, pid, stdout, stderr}…]…,
                                                                  then {}
``exec.forget``     {id}                                          {}
``file.read``       {path, offset, length | nil}                  DATA…, then {size: bytes sent}
``file.write``      {path, mode | nil, user | nil, offset | nil}  takes DATA…, END; then `stat`
``file.stat``       {path}                                        `stat`
``file.list``       {path}                                        EVENT [`stat`…]…, then {}
``file.mkdir``      {path, parents, mode, user | nil}             {}
``file.move``       {source, target}                              {}
``file.remove``     {path, recursive}                             {}
``file.chmod``      {path, mode}                                  {}
``file.watch``      {path}                                        EVENT [{}], then EVENT [{kind, path}…]…
                                                                  until RESET
``archive.out``     {path, include: […], exclude: […]}            DATA…, then {}
``archive.in``      {path, user | nil}                            takes DATA…, END; then {}
==================  ============================================  ============================================

EVENT {stdin} tells how many bytes of stdin the agent has taken from the writer that calls itself `token`:
after a lost connection that writer goes on from there, so nothing is repeated and nothing is missing.

A FAILURE carries ``{errno, message}``; errno is a symbolic name (``ENOENT``) or empty.
"""

PING = "ping"
IDENTIFY = "identify"
METRICS = "metrics"
POWER_OFF = "power_off"
EXEC_START = "exec.start"
EXEC_ATTACH = "exec.attach"
EXEC_RUN = "exec.run"
EXEC_SIGNAL = "exec.signal"
EXEC_KILL = "exec.kill"
EXEC_RESIZE = "exec.resize"
EXEC_LIST = "exec.list"
EXEC_FORGET = "exec.forget"
FILE_READ = "file.read"
FILE_WRITE = "file.write"
FILE_STAT = "file.stat"
FILE_LIST = "file.list"
FILE_MKDIR = "file.mkdir"
FILE_MOVE = "file.move"
FILE_REMOVE = "file.remove"
FILE_CHMOD = "file.chmod"
FILE_WATCH = "file.watch"
ARCHIVE_OUT = "archive.out"
ARCHIVE_IN = "archive.in"
