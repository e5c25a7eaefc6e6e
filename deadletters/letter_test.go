package deadletters

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lbshipd/lbshipd/record"
)

func randomBytes(r *rand.Rand) []byte {
	words := []string{"", "a", "<b>&", "日本", "\x00\x1b[31m", "\xff\xfe", "\u2028", "\uFFFD", `"\`, "\n\r\t", "long "}
	var b []byte
	for range r.IntN(6) {
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b
}

func randomRecord(r *rand.Rand) *record.Batch {
	b := record.NewBatch()
	b.Origin = &record.Origin{Source: "s", Kind: "file", Input: "i", Path: string(randomBytes(r)), Host: "h"}
	if r.IntN(2) == 0 {
		b.Origin.Labels = []record.Label{{Name: "a", Value: "é"}, {Name: "b", Value: ""}}
	}
	rec := b.Add()
	rec.Time, rec.Offset = r.Int64()-r.Int64(), int64(r.IntN(100))
	if r.IntN(10) == 0 {
		rec.Time = []int64{math.MinInt64, math.MaxInt64, 0, -1}[r.IntN(4)]
	}
	rec.Line = b.Copy(randomBytes(r))
	rec.Message = rec.Line
	if r.IntN(2) == 0 {
		rec.Message = b.Copy(randomBytes(r))
	}
	rec.Level = record.Level(r.IntN(10))
	if r.IntN(2) == 0 {
		rec.Facility = uint8(r.IntN(24))
	}
	rec.Flags = record.Flags(r.IntN(64))
	rec.Header = b.NewHeader()
	for _, p := range []*[]byte{&rec.Header.Host, &rec.Header.Identifier, &rec.Header.PID, &rec.Header.MsgID, &rec.Header.Unit} {
		*p = b.Copy(randomBytes(r))
	}
	for range r.IntN(4) {
		b.AddField(rec, b.Copy(randomBytes(r)), b.Copy(randomBytes(r)))
	}
	return b
}

// A record that comes back from a letter is the one that went in, whatever its
// bytes are.
func TestLetterKeepsTheRecord(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		b := randomRecord(rnd)
		line, err := New(b, 0, "t", "why", "words", time.Now()).AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(line, []byte("\n")) != 1 || !json.Valid(line) {
			t.Fatalf("not one line of JSON: %q", line)
		}
		l, err := Decode(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		back := record.NewBatch()
		l.AddTo(back)
		same := cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) }) // nil and empty are the same
		if diff := cmp.Diff(b.Records, back.Records, same); diff != "" {
			t.Fatalf("%s\n%s", line, diff)
		}
		if !reflect.DeepEqual(l.Origin(), b.Origin) {
			t.Fatalf("origin %+v, want %+v", l.Origin(), b.Origin)
		}
		b.Release()
		back.Release()
	}
}

func TestEveryLevelComesBack(t *testing.T) {
	for level := record.LevelUnknown; level <= record.LevelEmergency; level++ {
		if got := record.ParseLevel([]byte(level.String())); got != level {
			t.Errorf("%v comes back as %v", level, got)
		}
	}
}

// Who refused it and when is no part of its identity; all else is.
func TestIdentity(t *testing.T) {
	b := letterBatch(1, 1, "x")
	defer b.Release()
	one := New(b, 0, "t", "why", "words", time.Now())
	if other := New(b, 0, "u", "because", "", time.Unix(1, 0)); other.ID != one.ID {
		t.Error("the same record has another id")
	}
	line, _ := one.AppendTo(nil)
	for _, c := range []struct{ from, to, want string }{
		{`"line":"1 x"`, `"line":"1 y"`, "id is not that of its contents"},
		{`"level":"info"`, `"level":"debug"`, "id is not that of its contents"},
		{`"unit":"app.service"`, `"unit":"b"`, "id is not that of its contents"},
		{`"offset":1`, `"offset":2`, "id is not that of its contents"},
		{`"time":"2023`, `"time":"9023`, "none that a record can have"},
		{`"line":"1 x"`, `"x":1`, "no line"},
		{`{`, ``, "not a dead letter"},
	} {
		changed := strings.Replace(string(line), c.from, c.to, 1)
		if changed == string(line) {
			t.Fatalf("%s is not in %s", c.from, line)
		}
		if _, err := Decode([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.to, err, c.want)
		}
	}
	// Changed by hand, without an id.
	edited := strings.NewReplacer(`"id":"`+one.ID+`",`, "", "1 x", "1 y").Replace(string(line))
	l, err := Decode([]byte(edited))
	if err != nil || string(l.LineBytes()) != "1 y" || l.ID == one.ID || l.ID == "" {
		t.Errorf("changed by hand: %+v, %v", l, err)
	}
}

func FuzzScanner(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var all []byte
	for range 5 {
		b := randomRecord(rnd)
		all, _ = New(b, 0, "t", "why", "words", time.Now()).AppendTo(all)
	}
	f.Add(all)
	f.Add(all[:len(all)-3])
	f.Add([]byte("{}\n\n{\"line\":\"x\",\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"info\"}\n\x00\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		letters, damaged, err := readAll(bytes.NewReader(data))
		lines := bytes.Count(data, []byte("\n"))
		if len(data) > 0 && data[len(data)-1] != '\n' {
			lines++
		}
		if err != nil || len(letters)+damaged != lines {
			t.Fatalf("%d letters and %d damaged of %d lines, %v", len(letters), damaged, lines, err)
		}
		for _, l := range letters {
			b := record.NewBatch()
			l.AddTo(b)
			b.Origin = l.Origin()
			line, err := l.AppendTo(nil)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Decode(line)
			if err != nil || again.ID != l.ID {
				t.Fatalf("%s: %v", line, err)
			}
			b.Release()
		}
	})
}
