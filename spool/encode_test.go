package spool

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lbshipd/lbshipd/record"
)

// varied is a batch in which everything occurs that a record can have.
func varied(t testing.TB) *record.Batch {
	t.Helper()
	b := record.NewBatch()
	t.Cleanup(b.Release)
	b.Origin, b.Before, b.After = testOrigin, "12:off=7", "12:off=900"
	b.Read, b.ReadBytes, b.Filtered = 9, 812, 2
	line := func(text string) *record.Record {
		r := b.Add()
		r.Time, r.Level = 1_700_000_000_123_456_789, record.LevelWarning
		r.Line = b.Copy([]byte(text))
		r.Message = r.Line
		return r
	}
	r := line(`{"level":"info","msg":"hello","took":1.5}`)
	r.Message = r.Line[23:28]
	b.AddField(r, r.Line[2:7], r.Line[10:14])
	b.AddField(r, []byte("static"), []byte("value of its own"))
	r.Offset = 900
	h := b.NewHeader()
	h.Host, h.Identifier, h.PID, h.Unit = b.Copy([]byte("node1")), b.Copy([]byte("sshd")), b.Copy([]byte("77")), b.Copy([]byte("ssh.service"))
	for i := range 3 {
		r := line(fmt.Sprintf("from a unit %d", i))
		r.Header, r.Facility = h, 4
		r.Time -= int64(i) * 1_000_000_000_000 // back in time
	}
	r = line("<13>1 2026-01-02T03:04:05Z host app 12 ID7 - text")
	r.Header = b.NewHeader()
	r.Header.Host, r.Header.Identifier, r.Header.PID, r.Header.MsgID = r.Line[27:31], r.Line[32:35], r.Line[36:38], r.Line[39:42]
	r.Message, r.Flags, r.Facility = r.Line[45:], record.SyslogLine|record.Torn, 1
	r = line("")
	r.Flags, r.Time, r.Offset = record.TimeAssigned|record.Truncated, -5, 1<<62
	r = line("\x00\xff not UTF-8 \n")
	r.Message = b.Copy([]byte("made elsewhere"))
	r.Level, r.Header = record.LevelUnknown, h
	line("the last one")
	return b
}

var sameBatch = []cmp.Option{cmpopts.IgnoreUnexported(record.Batch{}), cmpopts.EquateEmpty()}

func TestBatchComesBackAsItWas(t *testing.T) {
	b := varied(t)
	p := appendPayload(nil, b, []byte("notes"), 99)
	got := record.NewBatch()
	defer got.Release()
	var d decoder
	info, err := d.decode(got, got.Copy(p))
	if err != nil || info.appended != 99 || string(info.notes) != "notes" {
		t.Fatalf("%+v, %v", info, err)
	}
	if diff := cmp.Diff(b, got, sameBatch...); diff != "" {
		t.Error(diff)
	}
	if got.Records[1].Header != got.Records[2].Header {
		t.Error("records that shared a header do not any more")
	}
	again := record.NewBatch()
	defer again.Release()
	if _, err := d.decode(again, again.Copy(p)); err != nil || again.Origin != got.Origin {
		t.Errorf("two batches of one origin do not share it: %v", err)
	}
	if m := got.Records[0]; &m.Message[0] != &m.Line[23] || &m.Fields[0].Name[0] != &m.Line[2] {
		t.Error("parts of the line are copies")
	}
}

func TestLongOriginAndNoOrigin(t *testing.T) {
	for _, size := range []int{0, 60, 127, 128, 16000, 17000, 1 << 21} {
		b := batchOf(t, 0, 2)
		o := *testOrigin
		o.Path = "/" + string(bytes.Repeat([]byte("p"), size))
		b.Origin = &o
		if size == 0 {
			b.Origin = nil
			o = record.Origin{}
		}
		got := record.NewBatch()
		if _, err := new(decoder).decode(got, got.Copy(appendPayload(nil, b, nil, 1))); err != nil {
			t.Errorf("%d: %v", size, err)
		} else if diff := cmp.Diff(&o, got.Origin, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%d: %s", size, diff)
		}
		got.Release()
	}
}

// Whatever the bytes are: no panic, no more memory than they account for, and what
// decodes encodes to something that decodes to the same.
func FuzzDecode(f *testing.F) {
	f.Add(appendPayload(nil, varied(f), []byte("notes"), 1))
	f.Add(appendPayload(nil, batchOf(f, 0, 40), nil, 2))
	empty := record.NewBatch()
	f.Add(appendPayload(nil, empty, nil, 3))
	empty.Release()
	f.Add([]byte{payloadVersion})
	f.Fuzz(func(t *testing.T, p []byte) {
		b := record.NewBatch()
		defer b.Release()
		var d decoder
		info, err := d.decode(b, p)
		if len(b.Records) > len(p) {
			t.Fatalf("%d records of %d bytes", len(b.Records), len(p))
		}
		if err != nil {
			return
		}
		again := record.NewBatch()
		defer again.Release()
		q := appendPayload(nil, b, info.notes, info.appended)
		other, err := d.decode(again, q)
		if err != nil {
			t.Fatalf("what was decoded cannot be: %v", err)
		}
		if diff := cmp.Diff(b, again, sameBatch...); diff != "" || !bytes.Equal(other.notes, info.notes) {
			t.Fatal(diff)
		}
	})
}

// A whole file of any bytes is opened, read to its end, and gone on with.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(dir, Options{MaxBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	put(f, s, 0, 30, 10)
	name := segmentsOf(f, dir)[0]
	id := s.segments[0].id
	s.Close()
	data := readAll(f, name)
	f.Add(data)
	f.Add(data[:len(data)-7])
	f.Add(slices.Concat(data[:100], data[80:]))
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := &memory{name: id.name(), data: data}
		s, err := Open("spool", Options{MaxBytes: 1 << 20, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		for {
			b := record.NewBatch()
			g, err := s.Next(b)
			n := len(b.Records)
			b.Release()
			if err != nil && n == 0 && g.Number+1 >= s.at.nextFrame {
				break
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
