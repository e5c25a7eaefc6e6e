package testbed

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// rsyslogFields are the properties that the template writes, in this order.
var rsyslogFields = []struct {
	name, property, more string
	of                   func(*RsyslogMessage) *string
}{
	{"pri", "pri", "", func(m *RsyslogMessage) *string { return &m.PRI }},
	{"version", "protocol-version", "", func(m *RsyslogMessage) *string { return &m.Version }},
	{"timestamp", "timereported", ` dateFormat="rfc3339"`, func(m *RsyslogMessage) *string { return &m.Timestamp }},
	{"host", "hostname", "", func(m *RsyslogMessage) *string { return &m.Host }},
	{"app", "app-name", "", func(m *RsyslogMessage) *string { return &m.AppName }},
	{"procid", "procid", "", func(m *RsyslogMessage) *string { return &m.ProcID }},
	{"msgid", "msgid", "", func(m *RsyslogMessage) *string { return &m.MsgID }},
	{"sd", "structured-data", "", func(m *RsyslogMessage) *string { return &m.StructuredData }},
	{"msg", "msg", "", func(m *RsyslogMessage) *string { return &m.Msg }},
	{"raw", "rawmsg", "", func(m *RsyslogMessage) *string { return &m.Raw }},
}

// Size returns how many octets it has written, of all its lives.
func (r *Rsyslog) Size(tb TB) int64 {
	tb.Helper()
	st, err := os.Stat(r.file())
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		tb.Fatalf("looking at rsyslog's messages: %v", err)
	}
	return st.Size()
}

// rsyslogStart is how each line of the template's output starts.
const rsyslogStart = `{"pri":"`

// parseRsyslogMessage reads one line of the template's output. encoding/json
// would turn octets that are no UTF-8 into U+FFFD; rsyslog writes them as they are.
func parseRsyslogMessage(line []byte) (m RsyslogMessage, err error) {
	rest := line
	for i, f := range rsyslogFields {
		before := ","
		if i == 0 {
			before = "{"
		}
		var ok bool
		if rest, ok = bytes.CutPrefix(rest, []byte(before+`"`+f.name+`":"`)); !ok {
			return m, fmt.Errorf("no %q where it should be", f.name)
		}
		if *f.of(&m), rest, err = unquoteJSON(rest); err != nil {
			return m, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if string(rest) != "}\n" {
		return m, fmt.Errorf("%q after the last property", rest)
	}
	return m, nil
}

// unquoteJSON reads a JSON string after its opening quote, keeping all octets.
func unquoteJSON(b []byte) (text string, rest []byte, err error) {
	var out []byte
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return string(out), b[i+1:], nil
		case c != '\\':
			out = append(out, c)
		case i+1 == len(b):
			return "", nil, fmt.Errorf("a lone backslash")
		case b[i+1] == 'u' && i+6 <= len(b):
			n, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 16)
			if err != nil {
				return "", nil, err
			}
			out = append(out, string(rune(n))...)
			i += 5
		default:
			i++
			if at := bytes.IndexByte([]byte(`bfnrt`), b[i]); at >= 0 {
				out = append(out, "\b\f\n\r\t"[at])
			} else {
				out = append(out, b[i])
			}
		}
	}
	return "", nil, fmt.Errorf("no closing quote")
}
