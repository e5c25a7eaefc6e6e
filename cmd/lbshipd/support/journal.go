package support

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/sources/journald"
)

// maxLog bounds the daemon's messages that are kept, in bytes: the newest ones.
const maxLog = 3 << 20

// log writes the newest of the daemon's own messages, and of what systemd says about it. What else
// the unit has printed, such as the records of a target of the kind stdout, is left out.
func (g *gatherer) log(ctx context.Context, w *writer) error {
	tail := &messages{hide: g.scrub.Text}
	r, pipe := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		tail.read(r)
	}()
	err := journald.Inspect(ctx, pipe, journald.InspectOptions{Directories: g.o.JournalDirs, Units: []string{g.o.Unit}, Since: g.o.Since, Output: "json"})
	pipe.Close()
	<-done
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("there is more than can be read in time: the newest messages may be missing, give a shorter --since")
	}
	if err == nil && tail.count == 0 {
		return fmt.Errorf("the journal that this user may read has no messages of %s since %s: does it run under another name (--unit), or print elsewhere?",
			g.o.Unit, g.o.Since.UTC().Format(time.RFC3339))
	}
	w.printf("# messages of %s since %s: %d, and %d lines that are not lbshipd's own and left out\n", g.o.Unit, g.o.Since.UTC().Format(time.RFC3339), tail.count, tail.others)
	if tail.dropped > 0 {
		w.printf("# the first %d are left out\n", tail.dropped)
	}
	for _, line := range tail.lines {
		w.printf("%s\n", line)
	}
	return err
}

// messages keeps the newest messages.
type messages struct {
	hide                   func(string) string
	lines                  []string
	size                   int
	count, dropped, others int
}

// entry is what is read of an entry.
type entry struct {
	Time       string          `json:"__REALTIME_TIMESTAMP"`
	Identifier json.RawMessage `json:"SYSLOG_IDENTIFIER"`
	PID        json.RawMessage `json:"_PID"`
	Message    json.RawMessage `json:"MESSAGE"`
}

// read takes entries in, one JSON object a line, until the end; it never stops before.
func (m *messages) read(r io.Reader) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		var e entry
		if json.Unmarshal(line, &e) == nil {
			m.take(&e)
		}
		if err != nil {
			return
		}
	}
}

func (m *messages) take(e *entry) {
	message, pid := text(e.Message), text(e.PID)
	if pid != "1" && !own(message) {
		m.others++
		return
	}
	at := e.Time
	if us, err := strconv.ParseInt(e.Time, 10, 64); err == nil {
		at = time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	line := at + " " + text(e.Identifier) + "[" + pid + "]: " + m.hide(message)
	m.count++
	m.lines, m.size = append(m.lines, line), m.size+len(line)
	for m.size > maxLog && len(m.lines) > 1 {
		m.size -= len(m.lines[0])
		m.lines, m.dropped = m.lines[1:], m.dropped+1
	}
}

// text is a field, which is a list of numbers if it is not valid UTF-8, and a
// list of values if there are several.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return strings.TrimSpace(s)
	}
	var b []byte
	var numbers []uint8
	if json.Unmarshal(raw, &numbers) == nil {
		b = numbers
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
}

// ownMessage is what lbshipd's log looks like (--log-format text and json), and what
// the Go runtime says at an end that was not meant: no value of a record is in that.
var ownMessage = regexp.MustCompile(`^(?:time=\S+ level=(?:DEBUG|INFO|WARN|ERROR)[+-]?\d* msg=` +
	`|\{"time":"[^"]+","level":"(?:DEBUG|INFO|WARN|ERROR)[+-]?\d*","msg":` +
	`|lbshipd: ` +
	`|panic: |fatal error: |SIG[A-Z]+: |\[signal |runtime: |goroutine \d+ |created by |PC=0x|r[a-z0-9]+ +0x[0-9a-f]+$` +
	`|/\S+\.go:\d+` +
	`|[\w./*()\[\]·%-]+\((?:0x[0-9a-f]+|[{},?. ])*\)$)`)

func own(message string) bool { return ownMessage.MatchString(message) }
