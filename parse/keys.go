package parse

import "github.com/lbshipd/lbshipd/record"

// keyClass says what a well-known key of a structured line holds.
type keyClass uint8

const (
	keyOther keyClass = iota
	keyLevel
	keyLevelWord // a level if it is a word: a number may be anything's priority
	keyOtelLevel // OpenTelemetry's severity number, 1 to 24
	keyTime
	keyMessage
	keyWeakMessage // a message if the line has no better one
	keyLog         // ECS' log object, or Docker's log text
	keyMongoLevel  // MongoDB's s, if the line is MongoDB's
	keyHost
	keyIdentifier
	keyPID
	keyMsgID
)

// wellKnown classes the keys of JSON and logfmt lines. Case matters, because
// folding it costs more than naming the spellings that occur: those of logrus,
// zap, zerolog, slog, klog, pino, bunyan, winston, Serilog, .NET, Python,
// structlog, logback, ECS, GELF, OpenTelemetry, Google Cloud, hclog, MongoDB
// and journald. A key named host is left a field: in access logs it is the
// HTTP header of that name.
func wellKnown(key []byte) keyClass {
	switch string(key) {
	case "level", "lvl", "severity", "log.level", "levelname", "loglevel", "@l", "@level", "Level", "LEVEL", "Severity",
		"SEVERITY", "LogLevel", "logLevel", "log_level", "level_name", "levelName", "PRIORITY", "severityText",
		"severity_text", "SeverityText", "syslog.severity":
		return keyLevel
	case "priority":
		return keyLevelWord
	case "severityNumber", "severity_number", "SeverityNumber":
		return keyOtelLevel
	case "time", "ts", "timestamp", "@timestamp", "t", "asctime", "@t", "date", "datetime", "Time", "Timestamp", "TimeStamp",
		"timeStamp", "Date", "TIMESTAMP", "eventTime", "logtime", "__REALTIME_TIMESTAMP", "TS":
		return keyTime
	case "msg", "message", "@m", "@message", "MESSAGE", "Message", "Msg", "short_message", "MSG":
		return keyMessage
	case "text", "event", "@mt", "body", "Body":
		return keyWeakMessage
	case "log":
		return keyLog
	case "s":
		return keyMongoLevel
	case "hostname", "host.name", "_HOSTNAME", "HOSTNAME":
		return keyHost
	case "app", "appname", "app_name", "application", "program", "service.name", "SYSLOG_IDENTIFIER":
		return keyIdentifier
	case "pid", "process.pid", "_PID", "SYSLOG_PID":
		return keyPID
	case "msgid":
		return keyMsgID
	}
	return keyOther
}

// zapKey classes the keys of zap's production and development encoders.
func zapKey(key []byte) keyClass {
	switch string(key) {
	case "level", "L":
		return keyLevel
	case "ts", "T":
		return keyTime
	case "msg", "M":
		return keyMessage
	}
	return keyOther
}

// otelLevel is the level of an OpenTelemetry severity number (logs data model,
// field SeverityNumber).
func otelLevel(p []byte) record.Level {
	n, end := number(p, 0)
	if end != len(p) || n < 1 || n > 24 {
		return record.LevelUnknown
	}
	return [...]record.Level{record.LevelTrace, record.LevelDebug, record.LevelInfo,
		record.LevelWarning, record.LevelError, record.LevelCritical}[(n-1)/4]
}

// trimSpace is bytes.TrimSpace for ASCII.
func trimSpace(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for n := len(p); n > 0 && (p[n-1] == ' ' || p[n-1] == '\t' || p[n-1] == '\r'); n = len(p) {
		p = p[:n-1]
	}
	return p
}
