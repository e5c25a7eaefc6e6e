package stdout

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

var deps = sinks.Deps{Request: func(time.Duration, string) {}, Note: func(string, int) {}}

func batchOf(lines ...string) *record.Batch {
	b := record.NewBatch()
	b.Origin = &record.Origin{Source: "app", Kind: "file", Path: "/var/log/app.log", Labels: []record.Label{{Name: "team", Value: "a b"}}}
	for i, line := range lines {
		r := b.Add()
		r.Line = b.Copy([]byte(line))
		r.Message = r.Line
		r.Time = time.Date(2026, 1, 2, 3, 4, 5, 6000000, time.UTC).UnixNano() + int64(i)
		r.Level = record.LevelWarning
	}
	return b
}

func send(t *testing.T, format string, colour bool, b *record.Batch) string {
	t.Helper()
	var out bytes.Buffer
	s, err := newSink(format, &out, colour, deps)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Send(t.Context(), []*record.Batch{b})
	if err != nil || res.Batches != 1 || res.Delivered != len(b.Records) || res.Bytes != int64(out.Len()) {
		t.Fatalf("%+v %v", res, err)
	}
	return out.String()
}

func TestTextCannotPlayWithTheTerminal(t *testing.T) {
	b := batchOf("plain é 😀\ttab", "\x1b[2J\x1b]0;title\x07", "two\nlines\r", "bad \xff\xc3 utf-8, C1 \u009b31m")
	got := strings.Split(send(t, "text", false, b), "\n")
	for i, want := range []string{"plain é 😀\ttab", `\x1b[2J\x1b]0;title\x07`, `two\nlines\x0d`, `bad \xff\xc3 utf-8, C1 \xc2\x9b31m`} {
		if !strings.HasSuffix(got[i], "warning  app /var/log/app.log: "+want) {
			t.Errorf("line %d: %q, want %q at its end", i, got[i], want)
		}
	}
	if strings.ContainsRune(strings.Join(got, ""), 0x1b) {
		t.Error("an escape character came through")
	}
	coloured := send(t, "text", true, batchOf("x"))
	if !strings.Contains(coloured, "\x1b[33mwarning \x1b[0m") {
		t.Errorf("no colour: %q", coloured)
	}
}

func TestJSONHoldsEverything(t *testing.T) {
	b := batchOf("line \x00\x1f\x7f\"\\\u2028 \xff é")
	r := &b.Records[0]
	r.Message = b.Copy([]byte("msg"))
	r.Header = b.NewHeader()
	r.Header.Host, r.Header.Unit, r.Header.Identifier, r.Header.PID, r.Header.MsgID = []byte("h"), []byte("u"), []byte("i"), []byte("1"), []byte("m")
	b.AddField(r, []byte("a"), []byte("1"))
	b.AddField(r, []byte("a"), []byte("2"))
	out := send(t, "json", false, b)
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	want := map[string]any{"time": "2026-01-02T03:04:05.006Z", "level": "warning", "source": "app", "filename": "/var/log/app.log",
		"host": "h", "unit": "u", "identifier": "i", "pid": "1", "msgid": "m", "line": "line \x00\x1f\x7f\"\\\u2028 \ufffd é", "message": "msg"}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if labels := got["labels"].(map[string]any); labels["team"] != "a b" {
		t.Errorf("labels %v", labels)
	}
	if fields := got["fields"].([]any); len(fields) != 2 || fields[1].([]any)[1] != "2" {
		t.Errorf("fields %v", fields)
	}
}

func TestLogfmt(t *testing.T) {
	b := batchOf(`say "hi"`)
	b.AddField(&b.Records[0], []byte("odd key="), []byte("plain"))
	b.AddField(&b.Records[0], []byte("empty"), nil)
	want := `time=2026-01-02T03:04:05.006Z level=warning source=app filename=/var/log/app.log team="a b" odd_key_=plain empty="" line="say \"hi\""` + "\n"
	if got := send(t, "logfmt", false, b); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// choppy writes a random part of what it is given and then fails, as a full
// disk behind standard output does.
type choppy struct{ out bytes.Buffer }

func (c *choppy) Write(p []byte) (int, error) {
	n := rand.IntN(len(p) + 1)
	c.out.Write(p[:n])
	if n < len(p) {
		return n, unix.ENOSPC
	}
	return n, nil
}

func TestFailedWritesNeitherTearNorRepeatLines(t *testing.T) {
	for range 300 {
		w := &choppy{}
		s, err := newSink("text", w, false, deps)
		if err != nil {
			t.Fatal(err)
		}
		var batches []*record.Batch
		var want []string
		for i := range 5 {
			var lines []string
			for range 1 + rand.IntN(4) {
				lines = append(lines, strings.Repeat(string(rune('a'+i)), 1+rand.IntN(20)))
			}
			want = append(want, lines...)
			batches = append(batches, batchOf(lines...))
		}
		delivered := 0
		for len(batches) > 0 {
			res, err := s.Send(t.Context(), batches)
			if err != nil && !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			delivered += res.Delivered
			batches = batches[res.Batches:]
		}
		var got []string
		for line := range strings.Lines(w.out.String()) {
			_, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "app.log: ")
			got = append(got, text)
		}
		if !slices.Equal(got, want) || delivered != len(want) {
			t.Fatalf("delivered %d, got %q, want %q", delivered, got, want)
		}
	}
}

func TestUnknownFormatIsAnError(t *testing.T) {
	if _, err := New(&config.Target{Name: "x", Stdout: &config.StdoutTarget{Format: "xml"}}, deps); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Errorf("got %v", err)
	}
}

func FuzzEncoders(f *testing.F) {
	f.Add([]byte("a\x1b[31m\xff"), []byte("k"))
	f.Fuzz(func(t *testing.T, line, name []byte) {
		b := batchOf(string(line))
		b.AddField(&b.Records[0], name, line)
		for _, format := range []string{"text", "json", "logfmt"} {
			out := send(t, format, false, b)
			if strings.Count(out, "\n") != 1 || !utf8.ValidString(out) || strings.ContainsAny(out, "\x1b\x07\u009b") {
				t.Errorf("%s: %q", format, out)
			}
			if format == "json" && !json.Valid([]byte(out)) {
				t.Errorf("not valid JSON: %s", out)
			}
		}
	})
}

func TestCutLineIsMarked(t *testing.T) {
	for format, want := range map[string]string{"text": "app.log: cut (truncated)\n", "json": `"truncated":true,"line":"cut"`, "logfmt": "truncated=true line=cut\n"} {
		b := batchOf("cut", "whole")
		b.Records[0].Flags |= record.Truncated
		got := send(t, format, false, b)
		if !strings.Contains(got, want) || strings.Count(got, "truncated") != 1 {
			t.Errorf("%s: %q, want %q in it, once", format, got, want)
		}
	}
}
