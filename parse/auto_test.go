package parse

import (
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

const (
	none = record.LevelUnknown
	trc  = record.LevelTrace
	dbg  = record.LevelDebug
	inf  = record.LevelInfo
	ntc  = record.LevelNotice
	wrn  = record.LevelWarning
	ers  = record.LevelError
	crt  = record.LevelCritical
	alt  = record.LevelAlert
	emg  = record.LevelEmergency
)

// wild are lines as real systems write them; the time "" is none.
var wild = []struct {
	system string
	level  record.Level
	time   string
	line   string
}{
	// Structured.
	{"json", ers, "2024-05-02T10:11:12.5Z", `{"level":"error","ts":"2024-05-02T10:11:12.5Z","msg":"boom"}`},
	{"json without level", none, "2024-05-02T10:11:12Z", `{"time":1714644672,"msg":"an error"}`},
	{"json cut short", wrn, "", `{"level":"warn","ts":"2024-05-02T10:11:12Z","msg":"bo`},
	{"pino", wrn, "2024-05-02T10:11:12.123Z", `{"level":40,"time":1714644672123,"pid":1,"hostname":"web","msg":"slow"}`},
	{"mongodb 4.4", inf, "2024-05-02T10:11:12.123Z", `{"t":{"$date":"2024-05-02T10:11:12.123+00:00"},"s":"I",  "c":"NETWORK",  "id":22943,   "ctx":"listener","msg":"Connection accepted","attr":{"remote":"1.2.3.4:5"}}`},
	{"mongodb 4.4 debug", dbg, "2024-05-02T10:11:12.123Z", `{"t":{"$date":"2024-05-02T10:11:12.123+00:00"},"s":"D2", "c":"REPL","msg":"x"}`},
	{"serilog clef", inf, "2024-05-02T10:11:12.123Z", `{"@t":"2024-05-02T10:11:12.1230000Z","@mt":"Hello {Name}","Name":"x"}`},
	{"serilog clef", wrn, "2024-05-02T10:11:12.123Z", `{"@t":"2024-05-02T10:11:12.1230000Z","@mt":"Hello","@l":"Warning"}`},
	{"logfmt", wrn, "2024-05-02T10:11:12Z", `time="2024-05-02T10:11:12Z" level=warning msg="an error happened" err=EOF`},
	{"logfmt go-kit", ers, "2024-05-02T10:11:12.123456789Z", `ts=2024-05-02T10:11:12.123456789Z caller=main.go:12 level=error msg=x`},
	{"grafana", inf, "2024-05-02T10:11:12Z", `logger=context userId=0 t=2024-05-02T10:11:12Z level=info msg="Request Completed"`},
	{"key=value but not logfmt", none, "", `PATH=/usr/bin:/bin ERROR`},
	{"klog", ers, "2024-05-02T10:11:12.123456Z", `E0502 10:11:12.123456    1234 reflector.go:138] failed to list`},
	{"klog info", inf, "2024-05-02T10:11:12.123456Z", `I0502 10:11:12.123456       1 controller.go:1] error is nil`},
	{"glog 0.6", wrn, "2024-05-02T10:11:12.123456Z", `W20240502 10:11:12.123456 12345 main.cc:12] careful`},
	{"cri json", dbg, "2024-05-02T10:11:12.123456789Z", `2024-05-02T10:11:12.123456789Z stdout F {"level":"debug","time":"2020-01-01T00:00:00Z"}`},
	{"cri klog", wrn, "2024-05-02T10:11:12.123456789Z", `2024-05-02T10:11:12.123456789Z stderr F W0502 10:11:11.000000 1 a.go:1] x`},
	{"cri partial", none, "2024-05-02T10:11:12.123456789Z", `2024-05-02T10:11:12.123456789Z stdout P {"level":"debug",`},
	{"docker json-file", none, "2024-05-02T10:11:12.123456789Z", `{"log":"an error\n","stream":"stdout","time":"2024-05-02T10:11:12.123456789Z"}`},
	{"kubernetes audit", none, "", `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"x"}`},

	// Syslog.
	{"rfc 5424", ntc, "2003-10-11T22:14:15.003Z", `<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3"] An application event log entry`},
	{"rfc 3164", crt, "2023-10-11T22:14:15Z", `<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8`},
	{"kernel <6>", inf, "", `<6>usb 1-1: new high-speed USB device`},
	{"/var/log/messages", none, "2024-05-02T10:11:12Z", `May  2 10:11:12 host kernel: usb 1-1: error -71`},
	{"logrotate", none, "2023-06-14T15:16:01Z", `Jun 14 15:16:01 combo logrotate: ALERT exited abnormally with [1]`},
	{"sshd", none, "2023-12-10T06:55:46Z", `Dec 10 06:55:46 LabSZ sshd[24200]: error: Received disconnect from 1.2.3.4: 14: No more`},
	{"rsyslog iso", none, "2024-05-02T08:11:12.123456Z", `2024-05-02T10:11:12.123456+02:00 host CRON[123]: (root) CMD (error)`},
	{"mac", none, "2023-07-01T09:00:55Z", `Jul  1 09:00:55 calvisitor-10-105-160-95 kernel[0]: IOThunderboltSwitch<0>(0x0)::listenerCallback - ERROR`},
	{"postfix", none, "2024-05-02T10:11:12Z", `May  2 10:11:12 mail postfix/smtpd[123]: warning: hostname x does not resolve`},

	// Java.
	{"zookeeper", wrn, "2015-07-29T19:04:29.071Z", `2015-07-29 19:04:29,071 - WARN  [SendWorker:188978561024:QuorumCnxManager$SendWorker@688] - Send worker leaving thread`},
	{"hadoop", ers, "2015-10-18T18:01:47.978Z", `2015-10-18 18:01:47,978 ERROR [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: x`},
	{"hdfs", inf, "2008-11-09T20:36:15Z", `081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38865049064139660 terminating`},
	{"hdfs warn", wrn, "2008-11-09T21:40:43Z", `081109 214043 2561 WARN dfs.DataNode$DataXceiver: 10.251.30.8:50010:Got exception while serving`},
	{"spark", inf, "2017-06-09T20:10:40Z", `17/06/09 20:10:40 INFO executor.CoarseGrainedExecutorBackend: Registered signal handlers for [TERM, HUP, INT]`},
	{"kafka", inf, "2024-05-02T10:11:12.123Z", `[2024-05-02 10:11:12,123] INFO [KafkaServer id=0] started (kafka.server.KafkaServer)`},
	{"elasticsearch", inf, "2024-05-02T10:11:12.123Z", `[2024-05-02T10:11:12,123][INFO ][o.e.n.Node               ] [node-1] version[7.0.0], error`},
	{"elasticsearch deprecation", crt, "2024-05-02T10:11:12.123Z", `[2024-05-02T10:11:12,123][CRITICAL][o.e.d.x] [node-1] old`},
	{"tomcat", wrn, "2024-05-02T10:11:12.123Z", `02-May-2024 10:11:12.123 WARNING [main] org.apache.catalina.startup.X.y slow`},
	{"tomcat severe", ers, "2024-05-02T10:11:12.123Z", `02-May-2024 10:11:12.123 SEVERE [main] org.apache.catalina.startup.X.y bad`},
	{"java.util.logging", none, "2024-05-02T22:11:12Z", `May 02, 2024 10:11:12 PM com.foo.Bar main`},
	{"java.util.logging line 2", ers, "", `SEVERE: could not start`},
	{"java.util.logging line 2", inf, "", `INFO: started without error`},
	{"spring boot", inf, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123  INFO 1234 --- [           main] c.e.Foo : Started`},
	{"spring boot 3", ers, "2024-05-02T10:11:12.123Z", `2024-05-02T10:11:12.123Z ERROR 1234 --- [app] [main] c.e.Foo : failed`},
	{"logback", dbg, "2024-05-03T10:11:12.123Z", `10:11:12.123 [main] DEBUG com.foo.Bar - msg`},
	{"jboss", inf, "2024-05-03T10:11:12.123Z", `10:11:12,123 INFO  [org.jboss.as] (MSC service thread 1-1) WFLYSRV0049`},
	{"cassandra", inf, "2024-05-02T10:11:12.123Z", `INFO  [main] 2024-05-02 10:11:12,123 CassandraDaemon.java:123 - error free`},
	{"log4j without time", ers, "", `[main] ERROR com.foo.Bar - broken`},
	{"log4j without time", wrn, "", `WARN  [main] com.foo.Bar: slow`},
	{"jenkins", inf, "2024-05-02T10:11:12.123Z", "2024-05-02 10:11:12.123+0000 [id=1]\tINFO\thudson.WebAppMain#contextInitialized: x"},
	{"weblogic", ntc, "2024-05-02T10:11:12Z", `####<May 2, 2024 10:11:12 AM UTC> <Notice> <WebLogicServer> <host> <> <error>`},
	{"solr", inf, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123 INFO  (main) [   ] o.a.s.c.CoreContainer x`},
	{"glassfish", wrn, "2024-05-02T10:11:12.123Z", `[2024-05-02T10:11:12.123+0000] [glassfish 5.0] [WARNING] [] [x]`},
	{"rabbitmq", ers, "2024-05-02T10:11:12.123456Z", `2024-05-02 10:11:12.123456+00:00 [error] <0.123.0> x`},
	{"erlang", ers, "2024-05-02T10:11:12Z", `=ERROR REPORT==== 2-May-2024::10:11:12 ===`},
	{"exception line", none, "", `	at com.foo.ErrorHandler.handle(ErrorHandler.java:123)`},
	{"exception line", none, "", `java.lang.RuntimeException: ERROR in x`},

	// Python, Ruby, PHP, JavaScript.
	{"openstack", inf, "2017-05-16T00:00:00.008Z", `nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO nova.osapi_compute.wsgi.server [req-38101a0b - -] "GET /v2" status: 200`},
	{"python default", wrn, "", `WARNING:root:be careful`},
	{"python asctime", wrn, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 - myapp.module - WARNING - careful`},
	{"python asctime", ers, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 - root - ERROR - bad`},
	{"python asctime bare", inf, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 root INFO no error`},
	{"celery", inf, "2024-05-02T10:11:12.123Z", `[2024-05-02 10:11:12,123: INFO/MainProcess] Connected`},
	{"gunicorn", inf, "2024-05-02T10:11:12Z", `[2024-05-02 10:11:12 +0000] [1234] [INFO] Booting worker`},
	{"uvicorn", inf, "", `INFO:     127.0.0.1:1234 - "GET / HTTP/1.1" 200 OK`},
	{"loguru", ers, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123 | ERROR    | mod:fn:1 - bad`},
	{"jupyter", inf, "2024-05-02T10:11:12.123Z", `[I 2024-05-02 10:11:12.123 ServerApp] Serving at error`},
	{"tornado", wrn, "2024-05-02T10:11:12Z", `[W 240502 10:11:12 web:2239] 404 GET`},
	{"cloud-init", dbg, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 - util.py[DEBUG]: Read 1 bytes`},
	{"salt", ers, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 [salt.minion      :1234][ERROR   ][5678] x`},
	{"fail2ban", ntc, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 fail2ban.actions        [1234]: NOTICE  [sshd] Ban 1.2.3.4`},
	{"supervisord", inf, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 INFO spawned: 'x' with pid 1`},
	{"ansible", crt, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 p=123 u=root n=ansible | fatal: [host]: FAILED!`},
	{"rails", inf, "2024-05-02T10:11:12.123456Z", `I, [2024-05-02T10:11:12.123456 #1234]  INFO -- : Started GET "/"`},
	{"ruby error", ers, "2024-05-02T10:11:12.123456Z", `E, [2024-05-02T10:11:12.123456 #1234] ERROR -- : bad`},
	{"puppet", ers, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 +0000 Puppet (err): bad`},
	{"chef", inf, "2024-05-02T10:11:12Z", `[2024-05-02T10:11:12+00:00] INFO: run`},
	{"fluentd", wrn, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 +0000 [warn]: #0 x`},
	{"fluent-bit", inf, "2024-05-02T10:11:12Z", `[2024/05/02 10:11:12] [ info] [engine] started`},
	{"laravel", ers, "2024-05-02T10:11:12Z", `[2024-05-02 10:11:12] production.ERROR: x {"exception":"y"}`},
	{"monolog", ntc, "2024-05-02T10:11:12.123456Z", `[2024-05-02T10:11:12.123456+00:00] app.NOTICE: x [] []`},
	{"php", wrn, "2024-05-02T10:11:12Z", `[02-May-2024 10:11:12 UTC] PHP Warning:  Undefined variable $x in /a.php on line 1`},
	{"php fatal", crt, "2024-05-02T10:11:12Z", `[02-May-2024 10:11:12 UTC] PHP Fatal error:  Uncaught Error in /a.php`},
	{"php-fpm", ntc, "2024-05-02T10:11:12Z", `[02-May-2024 10:11:12] NOTICE: fpm is running, pid 1`},
	{"node", ers, "", `Error: connect ECONNREFUSED 127.0.0.1:80`},

	// .NET, Windows.
	{".net console", inf, "", `info: Microsoft.Hosting.Lifetime[0]`},
	{".net console", ers, "", `fail: Microsoft.AspNetCore.Server.Kestrel[13]`},
	{".net console", trc, "", `trce: Foo[0]`},
	{"serilog", inf, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123 +00:00 [INF] Started`},
	{"serilog console", wrn, "2024-05-03T10:11:12Z", `[10:11:12 WRN] slow`},
	{"nlog", ers, "2024-05-02T10:11:12.1234Z", `2024-05-02 10:11:12.1234|ERROR|My.Logger|bad`},
	{"log4net", inf, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 [1] INFO Foo - msg`},
	{"windows cbs", inf, "2016-09-28T04:30:30Z", `2016-09-28 04:30:30, Info                  CBS    Loaded Servicing Stack v6.1.7601.23505 with error`},
	{"windows cbs", ers, "2016-09-28T04:30:30Z", `2016-09-28 04:30:30, Error                 CSI    bad`},

	// Go and Rust.
	{"go log", none, "2024-05-02T10:11:12Z", `2024/05/02 10:11:12 http: TLS handshake error from 1.2.3.4:5: EOF`},
	{"go log file", none, "2024-05-02T10:11:12.123456Z", `2024/05/02 10:11:12.123456 main.go:12: got an ERROR from x`},
	{"go slog default", wrn, "2024-05-02T10:11:12Z", `2024/05/02 10:11:12 WARN msg k=v`},
	{"consul", ers, "2024-05-02T10:11:12Z", `2024/05/02 10:11:12 [ERR] agent: failed`},
	{"vault", inf, "2024-05-02T10:11:12.123Z", `2024-05-02T10:11:12.123Z [INFO]  core: post-unseal setup complete`},
	{"nomad", wrn, "2024-05-02T10:11:12.123Z", `    2024-05-02T10:11:12.123Z [WARN]  agent: x`},
	{"zap console", inf, "2024-05-02T10:11:12.123Z", "2024-05-02T10:11:12.123Z\tinfo\tserver/main.go:12\tstarted\t{\"level\":\"error\"}"},
	{"filebeat", ers, "2024-05-02T10:11:12.123Z", "2024-05-02T10:11:12.123Z\tERROR\tinstance/beat.go:123\tExiting"},
	{"istio", wrn, "2024-05-02T10:11:12.123456Z", "2024-05-02T10:11:12.123456Z\twarn\tca failed"},
	{"logrus tty", inf, "", "\x1b[36mINFO\x1b[0m[0000] started with error"},
	{"telegraf", ers, "2024-05-02T10:11:12Z", `2024-05-02T10:11:12Z E! [inputs.cpu] bad`},
	{"coredns", inf, "", `[INFO] plugin/reload: Running`},
	{"calico", inf, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123 [INFO][1234] felix/int_dataplane.go 123: msg`},
	{"env_logger", inf, "2024-05-02T10:11:12Z", `[2024-05-02T10:11:12Z INFO  my_crate] msg`},
	{"env_logger colour", wrn, "2024-05-02T10:11:12Z", "[\x1b[90m2024-05-02T10:11:12Z\x1b[0m \x1b[33mWARN \x1b[0m my_crate] msg"},
	{"tracing", inf, "2024-05-02T10:11:12.123456Z", "\x1b[2m2024-05-02T10:11:12.123456Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mmy_crate\x1b[0m\x1b[2m:\x1b[0m error=none"},
	{"tracing plain", ers, "2024-05-02T10:11:12.123456Z", `2024-05-02T10:11:12.123456Z ERROR my_crate: msg`},
	{"loki prefix", wrn, "2024-05-02T10:11:12Z", `2024-05-02T10:11:12Z level=warn component=x`},

	// Servers.
	{"apache 2.2", ers, "2005-12-04T04:47:44Z", `[Sun Dec 04 04:47:44 2005] [error] mod_jk child workerEnv in error state 6`},
	{"apache 2.4", ntc, "2024-05-02T10:11:12.123456Z", `[Thu May 02 10:11:12.123456 2024] [core:notice] [pid 123:tid 456] AH00094: error`},
	{"apache 2.4", wrn, "2024-05-02T10:11:12.123456Z", `[Thu May 02 10:11:12.123456 2024] [:warn] [pid 123] x`},
	{"apache access", none, "2000-10-10T20:55:36Z", `127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /error HTTP/1.0" 500 2326`},
	{"nginx error", ers, "2024-05-02T10:11:12Z", `2024/05/02 10:11:12 [error] 123#123: *1 open() "/x" failed`},
	{"nginx emerg", emg, "2024-05-02T10:11:12Z", `2024/05/02 10:11:12 [emerg] 1#1: host not found`},
	{"nginx alert", alt, "2024-05-02T10:11:12Z", `2024/05/02 10:11:12 [alert] 1#1: worker process 2 exited`},
	{"haproxy", ntc, "", `[NOTICE]   (1) : New worker (8) forked`},
	{"haproxy", wrn, "", `[WARNING]  (1) : config : missing timeouts`},
	{"envoy", inf, "2024-05-02T10:11:12.123Z", `[2024-05-02 10:11:12.123][1][info][main] [source/server/server.cc:404] initializing error`},
	{"envoy access", none, "2024-05-02T10:11:12.123Z", `[2024-05-02T10:11:12.123Z] "GET /ERROR HTTP/1.1" 503 UF`},
	{"squid", none, "2024-05-02T10:11:12.123Z", `1714644672.123    456 10.0.0.1 TCP_MISS/200 1234 GET http://x/ - HIER_DIRECT/1.2.3.4 text/html`},
	{"squid cache.log", wrn, "2024-05-02T10:11:12Z", `2024/05/02 10:11:12 kid1| WARNING: no_suid`},
	{"bind", inf, "2024-05-02T10:11:12.123Z", `02-May-2024 10:11:12.123 general: info: running`},
	{"freeradius", ers, "2024-05-02T10:11:12Z", `Thu May  2 10:11:12 2024 : Error: bad`},
	{"dovecot", inf, "2024-05-02T10:11:12Z", `May 02 10:11:12 imap-login: Info: Login: user=<x>, error`},
	{"asterisk", wrn, "2024-05-02T10:11:12Z", `[May  2 10:11:12] WARNING[1234] chan_sip.c: msg`},
	{"slurm", ers, "2024-05-02T10:11:12.123Z", `[2024-05-02T10:11:12.123] error: Node x not responding`},
	{"slurm", none, "2024-05-02T10:11:12.123Z", `[2024-05-02T10:11:12.123] sched: Allocate JobId=1 error`},
	{"libvirt", ers, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123+0000: 1234: error : virNetSocketReadWire:1806 : End of file`},
	{"389ds", inf, "2024-05-02T10:11:12.123456789Z", `[02/May/2024:10:11:12.123456789 +0000] - INFO - main - starting`},
	{"NetworkManager", inf, "2024-05-02T10:11:12.1234Z", `<info>  [1714644672.1234] manager: x`},
	{"nagios", none, "2024-05-02T10:11:12Z", `[1714644672] SERVICE ALERT: host;svc;CRITICAL;HARD;3;bad`},
	{"openvpn", wrn, "2024-05-02T10:11:12Z", `Thu May  2 10:11:12 2024 WARNING: file 'x' is group accessible`},
	{"dpkg", none, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 status installed liberror-perl:all 0.17`},
	{"pacman", none, "2024-05-02T10:11:12Z", `[2024-05-02T10:11:12+0000] [ALPM] installed error (1-1)`},

	// Databases.
	{"postgres", inf, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123 UTC [1234] LOG:  database system is ready, no ERROR`},
	{"postgres", ers, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123 UTC [1234] ERROR:  relation "x" does not exist`},
	{"postgres prefix", crt, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 UTC [1234]: [1-1] user=foo,db=bar FATAL:  password`},
	{"postgres detail", none, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12.123 UTC [1234] DETAIL:  ERROR`},
	{"mysql 8", wrn, "2024-05-02T10:11:12.123456Z", `2024-05-02T10:11:12.123456Z 0 [Warning] [MY-010068] [Server] CA certificate`},
	{"mysql 8 system", ntc, "2024-05-02T10:11:12.123456Z", `2024-05-02T10:11:12.123456Z 0 [System] [MY-010116] [Server] starting`},
	{"mysql 5", ntc, "2024-05-02T09:11:12Z", `240502  9:11:12 [Note] Plugin 'x' is disabled`},
	{"mariadb", ers, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 0 [ERROR] InnoDB: bad`},
	{"mongodb 3", inf, "2024-01-01T00:00:00Z", `2024-01-01T00:00:00.000+0000 I NETWORK  [conn1] error`},
	{"mongodb 3", ers, "2024-01-01T00:00:00Z", `2024-01-01T00:00:00.000+0000 E -        [conn1] bad`},
	{"redis", ntc, "2024-01-01T00:00:00Z", `1234:M 01 Jan 2024 00:00:00.000 * Ready to accept connections`},
	{"redis", wrn, "2024-01-01T00:00:00Z", `1234:C 01 Jan 2024 00:00:00.000 # WARNING overcommit_memory`},
	{"redis", dbg, "2024-01-01T00:00:00Z", `1234:M 01 Jan 2024 00:00:00.000 . DB 0: error`},
	{"oracle listener", none, "2024-05-02T10:11:12Z", `02-MAY-2024 10:11:12 * service_update * orcl * 0`},
	{"rocksdb", none, "2024-05-02T10:11:12.123456Z", `2024/05/02-10:11:12.123456 7f8b4c0b6700 [db/db_impl.cc:123] error`},

	// Storage and clusters.
	{"ceph", ers, "2024-01-01T00:00:00Z", `2024-01-01T00:00:00.000+0000 7f8b4c0b6700 -1 osd.1 123 heartbeat_check: no reply`},
	{"ceph", inf, "2024-01-01T00:00:00Z", `2024-01-01T00:00:00.000+0000 7f8b4c0b6700  0 mon.a@0(leader) e1 handle_command error`},
	{"ceph debug", dbg, "2024-01-01T00:00:00Z", `2024-01-01T00:00:00.000+0000 7f8b4c0b6700 10 osd.1 x`},
	{"ceph cluster", wrn, "2024-01-01T00:00:00Z", `2024-01-01T00:00:00.000+0000 7f8b4c0b6700  0 log_channel(cluster) log [WRN] : Health check failed`},
	{"ceph.log", inf, "2024-05-02T10:11:12.123456Z", `2024-05-02T10:11:12.123456+0000 mon.a (mon.0) 123 : cluster [INF] overall HEALTH_OK`},
	{"cephadm", dbg, "2024-05-02T10:11:12.123Z", `2024-05-02 10:11:12,123 7f1a2b3c4d5e DEBUG ---`},
	{"gluster", ers, "2024-05-02T10:11:12.123456Z", `[2024-05-02 10:11:12.123456 +0000] E [MSGID: 106487] [glusterd.c:1] 0-management: x`},
	{"bgl", inf, "2005-06-03T22:42:50Z", `- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.675872 R02-M1-N0-C:J12-U11 RAS KERNEL INFO instruction cache parity error corrected`},
	{"bgl fatal", crt, "2005-06-03T22:42:50Z", `APPREAD 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.675872 R02-M1-N0-C:J12-U11 RAS APP FATAL ciod: failed`},
	{"thunderbird", none, "2005-11-09T20:01:01Z", `- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: session closed for user root`},
	{"hpc", none, "2004-02-26T02:12:22Z", `134681 node-246 unix.hw state_change.unavailable 1077761542 1 Component State Change: Component error`},
	{"android", dbg, "2024-03-17T16:13:38.811Z", `03-17 16:13:38.811  1702  2395 D WindowManager: printFreezingDisplayLogs error`},
	{"android error", ers, "2024-03-17T16:13:38.811Z", `03-17 16:13:38.811  1702  8671 E ActivityManager: bad`},
	{"android time", wrn, "2024-03-17T16:13:38.811Z", `03-17 16:13:38.811 W/dalvikvm( 123): x`},
	{"android brief", wrn, "", `W/dalvikvm(  123): x`},
	{"healthapp", none, "2017-12-23T22:15:29.606Z", `20171223-22:15:29:606|Step_LSC|30002312|onStandStepChanged 3579`},
	{"proxifier", none, "2023-10-30T16:49:06Z", `[10.30 16:49:06] chrome.exe - proxy.cse.cuhk.edu.hk:5070 open through proxy error`},
	{"corosync", none, "2024-05-02T10:11:12Z", `May 02 10:11:12 [1234] host corosync notice  [MAIN  ] Corosync starting`},
	{"systemd console", none, "", `[  OK  ] Started Error Reporter.`},
	{"systemd console", ers, "", `[FAILED] Failed to start x.`},
	{"dmesg", none, "", `[    0.000000] Linux version 6.1.0 error`},
	{"dmesg -T", none, "2024-05-02T10:11:12Z", `[Thu May  2 10:11:12 2024] usb 1-1: error`},
	{"git", crt, "", `fatal: not a git repository`},
	{"gcc", none, "", `main.c:12:3: error: expected ';'`},

	// What must not be a level or a time.
	{"plain", none, "", `no error here`},
	{"plain", none, "", `Everything is fine`},
	{"plain", none, "", `Error opening file`},
	{"plain", none, "", `An ERROR in the middle`},
	{"plain", none, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 error while reading`},
	{"plain", none, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 Received an ERROR from host`},
	{"plain", none, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 I am the error`},
	{"plain", none, "", `Backup will be finished on 2024-05-02 10:11:12`},
	{"plain", none, "", `The certificate expired [2024-05-02 10:11:12]`},
	{"access log with names", none, "2024-05-02T10:11:12Z", `www ident frank [02/May/2024:10:11:12 +0000] "GET / HTTP/1.1" 200 1`},
	{"plain", none, "", `1.5 GB used`},
	{"bad date", none, "", `2024-02-30 10:11:12 x`},
	{"bad time", none, "", `2024-02-28 24:00:00 x`},
	{"empty", none, "", ``},
	{"blank", none, "", `   `},
	{"no error in info", inf, "2024-05-02T10:11:12Z", `2024-05-02 10:11:12 INFO [main] no ERROR: [error] found`},
}

func TestAutoWild(t *testing.T) {
	f := mustNew(t, "auto")
	for _, c := range wild {
		r := parseLine(t, f, c.line, testOptions())
		if !r.ok {
			t.Errorf("%s: refused: %q", c.system, c.line)
			continue
		}
		if r.Level != c.level {
			t.Errorf("%s: level %v, want %v: %q", c.system, r.Level, c.level, c.line)
		}
		if want := stampOf(t, c.time); r.Time != want {
			t.Errorf("%s: time %s, want %q: %q", c.system, time.Unix(0, r.Time).UTC().Format(time.RFC3339Nano), c.time, c.line)
		}
		if assigned := r.Flags&record.TimeAssigned != 0; assigned != (c.time == "") {
			t.Errorf("%s: TimeAssigned is %v: %q", c.system, assigned, c.line)
		}
	}
}
