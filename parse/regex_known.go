package parse

// knownRegexes are the formats regex:NAME that need not be configured; one of
// the configuration with the same name takes their place. Access logs have no
// level: a status is the answer's and not the server's.
var knownRegexes = map[string]Regex{
	// The predefined "combined" of nginx, with what people append to it.
	"nginx-access": {Pattern: `^(?P<remote_addr>\S+) \S+ (?P<remote_user>.*?) \[(?P<time>[^\]]+)\] ` +
		`"(?P<message>(?P<method>[A-Z]+)? ?(?P<path>[^" ]*)[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+|-)` +
		`(?: "(?P<referer>[^"]*)" "(?P<user_agent>[^"]*)")?`},
	"nginx-error": {Pattern: `^(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>\w+)\] (?P<pid>\d+)#(?P<tid>\d+): ` +
		`(?:\*(?P<connection>\d+) )?(?P<message>.*)$`},
	// Common and combined; vhost_combined has the virtual host first.
	"apache-access": {Pattern: `^(?:(?P<vhost>[^ :]+:\d+) )?(?P<remote_addr>\S+) (?P<ident>\S+) (?P<remote_user>.*?) \[(?P<time>[^\]]+)\] ` +
		`"(?P<message>(?P<method>[A-Z]+)? ?(?P<path>[^" ]*)(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-)` +
		`(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)")?`},
	"apache-error": {Pattern: `^\[(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:.]+ \d{4})\] \[(?:(?P<module>\w+)?:)?(?P<level>\w+)\] ` +
		`(?:\[pid (?P<pid>\d+)(?::tid \d+)?\] )?(?:\[client (?P<client>[^\]]+)\] )?(?P<message>.*)$`},
	// "option httplog" and "option tcplog", with or without a syslog header.
	"haproxy-http": {Pattern: `(?P<client_ip>[\da-fA-F.:]+):(?P<client_port>\d+) \[(?P<time>[^\]]+)\] (?P<frontend>\S+) (?P<backend>[^/ ]+)/(?P<server>\S+) ` +
		`(?P<timers>[-\d/+]+) (?P<status>-?\d+) \+?(?P<bytes>\d+) .*?(?P<termination_state>[-A-Za-z]{4}) [\d/+]+ [\d/]+ .*?"(?P<message>[^"]*)"`},
	"haproxy-tcp": {Pattern: `(?P<client_ip>[\da-fA-F.:]+):(?P<client_port>\d+) \[(?P<time>[^\]]+)\] (?P<frontend>\S+) (?P<backend>[^/ ]+)/(?P<server>\S+) ` +
		`(?P<timers>[-\d/+]+) \+?(?P<bytes>\d+) (?P<termination_state>[-A-Za-z]{2}) `},
	"postgresql": {Pattern: `^(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [A-Z+\-\d]+) \[(?P<pid>\d+)\](?:: \[[\d-]+\])? ` +
		`(?:(?P<user>[^@ ]*)@(?P<database>\S*) )?(?P<level>[A-Z]+\d?):\s+(?P<message>.*)$`},
	"mysql-error": {Pattern: `^(?P<time>\d{4}-\d\d-\d\d[T ]+\d{1,2}:\d\d:\d\d(?:\.\d+)?(?:Z|[+\-]\d\d:\d\d)?) (?P<thread>\d+) \[(?P<level>\w+)\] ` +
		`(?:\[(?P<code>MY-\d+)\] )?(?:\[(?P<subsystem>\w+)\] )?(?P<message>.*)$`},
	"log4j": {Pattern: `^(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?) +(?:\[(?P<thread>[^\]]*)\] )?(?P<level>[A-Z]+) +` +
		`(?:\[(?P<thread2>[^\]]*)\] )?(?P<logger>[\w.$]+) *[-:]+ (?P<message>.*)$`},
}
