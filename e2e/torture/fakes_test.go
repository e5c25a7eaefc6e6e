package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// encodePush is the way back of unsnap and decodePush, with literals only.
func encodePush(streams []pushStream) []byte {
	field := func(b []byte, number int, data []byte) []byte {
		b = binary.AppendUvarint(b, uint64(number)<<3|2)
		b = binary.AppendUvarint(b, uint64(len(data)))
		return append(b, data...)
	}
	var push []byte
	for _, s := range streams {
		stream := field(nil, 1, []byte(s.labels))
		for _, e := range s.entries {
			at := binary.AppendUvarint([]byte{1 << 3}, uint64(e.at/1e9))
			at = binary.AppendUvarint(append(at, 2<<3), uint64(e.at%1e9))
			entry := field(field(nil, 1, at), 2, e.line)
			stream = field(stream, 2, entry)
		}
		push = field(push, 1, stream)
	}
	out := binary.AppendUvarint(nil, uint64(len(push)))
	for len(push) > 0 {
		n := min(len(push), 1<<16)
		out = append(out, 61<<2, byte(n-1), byte((n-1)>>8))
		out = append(out, push[:n]...)
		push = push[n:]
	}
	return out
}

func post(t *testing.T, url string, streams []pushStream) (int, string) {
	t.Helper()
	res, err := http.Post(url+"/loki/api/v1/push", "application/x-protobuf", bytes.NewReader(encodePush(streams)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// The fake Loki decides as the real one does, in its words, and keeps what it keeps.
func TestFakeLokiAnswersAsTheRealOne(t *testing.T) {
	t.Parallel()
	real := testbed.StartLoki(t, testbed.LokiOptions{Limits: map[string]string{"max_line_size": fmt.Sprint(lokiMaxLine)}})
	tb := &bed{}
	t.Cleanup(tb.clean)
	fake := startLokiFake(tb, newBook("loki"), newCounts(), newDice(1, "x"), lokiMaxLine)
	kept := map[string]int{}
	now := time.Now()
	line := func(ago time.Duration, text string) pushEntry {
		return pushEntry{at: now.Add(-ago).UnixNano(), line: []byte(text)}
	}
	many := func(n int, ago time.Duration, text string) (all []pushEntry) {
		for i := range n {
			all = append(all, line(ago-time.Duration(i)*time.Millisecond, fmt.Sprintf("%s %d", text, i)))
		}
		return all
	}
	a := func(e ...pushEntry) pushStream { return pushStream{`{source="a"}`, e} }
	b := func(e ...pushEntry) pushStream { return pushStream{`{source="b"}`, e} }
	long := strings.Repeat("x", lokiMaxLine+1)
	for _, c := range []struct {
		name    string
		streams []pushStream
	}{
		{"nothing", nil},
		{"good", []pushStream{a(many(5, time.Minute, "one")...), b(many(5, time.Minute, "two")...)}},
		{"again", []pushStream{a(many(5, time.Minute, "one")...)}},
		{"the same time, other lines", []pushStream{a(many(5, time.Minute, "three")...)}},
		{"the same line, another time", []pushStream{a(many(5, 2*time.Minute, "one")...)}},
		{"too new", []pushStream{a(line(-time.Hour, "new"), line(0, "good"))}},
		{"too new, twice", []pushStream{a(line(-time.Hour, "new"), line(-time.Hour, "newer"), line(0, "good 2"))}},
		{"longest", []pushStream{a(line(0, long[1:]))}},
		{"too long", []pushStream{a(line(0, long))}},
		{"too long and too new, in two streams", []pushStream{a(line(0, long), line(0, "good 3")), b(line(-time.Hour, "new"), line(0, "good 3"))}},
		{"too far behind", []pushStream{a(line(2*time.Hour, "old"), line(0, "good 4"))}},
		{"many too far behind", []pushStream{a(append(many(20, 2*time.Hour, "old"), line(0, "good 5"))...)}},
		{"an hour behind, almost", []pushStream{a(line(time.Hour-5*time.Second, "not so old"))}},
		{"too far behind in the first stream", []pushStream{a(line(2*time.Hour, "old")), b(line(0, "good 6"))}},
		{"too far behind in the last stream", []pushStream{b(line(0, "good 7")), a(line(2*time.Hour, "old"))}},
		{"too far behind and too new", []pushStream{a(line(2*time.Hour, "old"), line(-time.Hour, "new"), line(0, "good 8"))}},
		{"all of it too new", []pushStream{a(line(-time.Hour, "new"))}},
		{"an order of its own", []pushStream{a(line(time.Second, "later"), line(20*time.Minute, "earlier"))}},
	} {
		status, body := post(t, real.URL, c.streams)
		ours, words := post(t, "http://"+fake.address, c.streams)
		if status != ours || speech(body) != speech(words) {
			t.Errorf("%s: Loki says %d %s\nthe fake  %d %s", c.name, status, body, ours, words)
		}
	}
	for labels, s := range fake.rules.streams {
		kept[labels] = len(s.have)
	}
	for labels, n := range kept {
		if got := len(real.Query(t, testbed.LokiQuery{Query: labels})); got != n || n < 8 {
			t.Errorf("%s: Loki has %d lines, the fake %d", labels, got, n)
		}
	}
}

// speech is an answer without what differs from one moment to the next: the
// times in it, and the order of its groups of errors, which Loki takes from a map.
var moving = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ][0-9:.]+( \+0000 UTC|Z)`)

func speech(body string) string {
	groups := strings.Split(strings.TrimSuffix(moving.ReplaceAllString(body, "TIME"), "\n"), "; ")
	slices.Sort(groups)
	return strings.Join(groups, "; ")
}

// The fake syslog server finds the message where the real rsyslog finds it.
func TestFakeSyslogReadsAsTheRealOne(t *testing.T) {
	t.Parallel()
	real := testbed.StartRsyslog(t, testbed.RsyslogOptions{MaxMessageSize: "64k"})
	messages := []string{
		"<13>1 2026-01-02T03:04:05.678901Z h a p m - plain",
		`<13>1 2026-01-02T03:04:05.678901Z h a p m [x@1 k="v"] with data`,
		`<13>1 2026-01-02T03:04:05.678901Z h a p m [x@1 k="a\"b\]c\\"][y@1 z="\] "] with escapes`,
		"<13>1 - - - - - - short",
		"<13>1 - h a p m - two\nlines, and a tab\t and ] [x] \"",
		"<13>1 - h a p m [x@1] " + strings.Repeat("ä€😀", 2000),
		"<13>1 - h a p m -  a space before",
	}
	conn, err := net.Dial("tcp", real.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, m := range messages {
		if _, err := fmt.Fprintf(conn, "%d %s", len(m), m); err != nil {
			t.Fatal(err)
		}
	}
	got := real.Wait(t, len(messages))
	for i, m := range messages {
		msg, err := messageOf([]byte(m))
		if err != nil || string(msg) != got[i].Msg {
			t.Errorf("%q: the fake reads %q, %v, rsyslog %q", m, msg, err, got[i].Msg)
		}
	}
}

// The fake RELP server answers as rsyslog's imrelp does.
func TestFakeRelpAnswersAsTheRealOne(t *testing.T) {
	t.Parallel()
	real := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: "relp", MaxMessageSize: "64k"})
	tb := &bed{}
	t.Cleanup(tb.clean)
	b := newBook("relp")
	fake := startSyslogFake(tb, "relp", nil, true, b, newCounts(), newDice(1, "x"))
	frame := func(txnr int, command, data string) string {
		if data == "" {
			return fmt.Sprintf("%d %s 0\n", txnr, command)
		}
		return fmt.Sprintf("%d %s %d %s\n", txnr, command, len(data), data)
	}
	open := frame(1, "open", "relp_version=0\nrelp_software=x\ncommands=syslog")
	message := "<13>1 - h a p m - hello"
	for _, c := range []struct{ name, send string }{
		{"open and close", open + frame(2, "close", "")},
		{"messages", open + frame(2, "syslog", message) + frame(3, "syslog", message) + frame(4, "close", "")},
		{"two lines", open + frame(2, "syslog", message+"\nmore") + frame(3, "close", "")},
		{"a jump of the transaction number", open + frame(3, "syslog", message) + frame(4, "close", "")},
	} {
		a, e := talk(t, real.Address, c.send), talk(t, fake.address, c.send)
		if a != e {
			t.Errorf("%s: rsyslog says %q, the fake %q", c.name, a, e)
		}
	}
}

// talk sends text and returns what comes back until the server hangs up,
// without what it says of itself.
func talk(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	back, _ := io.ReadAll(conn)
	return regexp.MustCompile(`1 rsp \d+ 200 OK\nrelp_version=(\d).*\n(relp_software=.*\n)?commands=(\w+)\n`).ReplaceAllString(string(back), "1 rsp N 200 OK, version $1, $3\n")
}
