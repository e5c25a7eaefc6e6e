package record

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestAllocNeverMovesOrOverlaps(t *testing.T) {
	b := NewBatch()
	defer b.Release()
	rng := rand.New(rand.NewPCG(1, 2))
	type piece struct {
		got  []byte
		want byte
		at   *byte
	}
	var pieces []piece
	for i := range 3000 {
		n := rng.IntN(300)
		if i%500 == 499 {
			n = 300 << 10 // larger than any chunk
		}
		p := b.Alloc(n)
		if len(p) != n || cap(p) != n {
			t.Fatalf("Alloc(%d) has len %d and cap %d", n, len(p), cap(p))
		}
		if n == 0 {
			continue
		}
		c := byte(i)
		for j := range p {
			p[j] = c
		}
		pieces = append(pieces, piece{p, c, &p[0]})
	}
	for i, p := range pieces {
		if &p.got[0] != p.at {
			t.Fatalf("piece %d moved", i)
		}
		if n := bytes.Count(p.got, []byte{p.want}); n != len(p.got) {
			t.Fatalf("piece %d was overwritten: %d of %d bytes are left", i, n, len(p.got))
		}
	}
}

func TestShrinkGivesBackOnlyTheRest(t *testing.T) {
	b := NewBatch()
	defer b.Release()
	for _, n := range []int{0, 1, 100, 4 << 10, 4<<10 + 1, 400 << 10} {
		for _, used := range []int{0, n / 2, n} {
			p := b.Alloc(n)
			for i := range p {
				p[i] = 'p'
			}
			b.Shrink(n, used)
			q := b.Alloc(50)
			for i := range q {
				q[i] = 'q'
			}
			if bytes.IndexByte(p[:used], 'q') >= 0 {
				t.Fatalf("Shrink(%d, %d) gave away bytes that are in use", n, used)
			}
		}
	}
}

func TestCopyIsItsOwn(t *testing.T) {
	b := NewBatch()
	defer b.Release()
	src := []byte("line")
	got := b.Copy(src)
	src[0] = 'X'
	if string(got) != "line" {
		t.Errorf("the copy is %q", got)
	}
}

func TestFieldsStayTogetherAcrossSlabs(t *testing.T) {
	b := NewBatch()
	defer b.Release()
	const records = 400
	want := func(i, k int) string { return fmt.Sprintf("%d/%d", i, k) }
	for i := range records {
		b.Add()
		for k := range i % 37 {
			r := &b.Records[i]
			b.AddField(r, []byte("n"), []byte(want(i, k)))
		}
		if i%100 == 50 { // one record alone outgrows a slab
			for k := i % 37; k < 500; k++ {
				b.AddField(&b.Records[i], []byte("n"), []byte(want(i, k)))
			}
		}
	}
	for i := range b.Records {
		n := i % 37
		if i%100 == 50 {
			n = 500
		}
		r := &b.Records[i]
		if len(r.Fields) != n {
			t.Fatalf("record %d has %d fields, want %d", i, len(r.Fields), n)
		}
		for k, f := range r.Fields {
			if string(f.Value) != want(i, k) {
				t.Fatalf("field %d of record %d is %q, want %q", k, i, f.Value, want(i, k))
			}
		}
		if n > 0 && cap(r.Fields) != n {
			t.Fatalf("record %d could append into its neighbour's fields", i)
		}
	}
	if got := b.Records[5].Field("n"); string(got) != "5/0" {
		t.Errorf("the first field is %q", got)
	}
	if got := b.Records[5].Field("none"); got != nil {
		t.Errorf("a field that is not there is %q", got)
	}
}

func TestHeadersStayWhereTheyAre(t *testing.T) {
	b := NewBatch()
	defer b.Release()
	var all []*Header
	for i := range 1000 {
		h := b.NewHeader()
		if h.Host != nil || h.PID != nil {
			t.Fatal("a new header is not cleared")
		}
		h.Host = fmt.Append(nil, i)
		all = append(all, h)
	}
	for i, h := range all {
		if string(h.Host) != fmt.Sprint(i) {
			t.Fatalf("header %d says %q", i, h.Host)
		}
	}
}

func TestAddIsCleared(t *testing.T) {
	b := NewBatch()
	r := b.Add()
	r.Time, r.Level, r.Facility, r.Flags = 1, LevelError, 3, Partial
	r.Line = b.Copy([]byte("x"))
	b.AddField(r, []byte("a"), []byte("b"))
	b.Read, b.ReadBytes, b.Filtered, b.Before, b.After = 1, 2, 3, "a", "b"
	b.Origin = &Origin{}
	b.PositionAt = func(*Record) Position { return "x" }
	b.Release()
	for range 10 { // the pool may or may not give the same one back
		b := NewBatch()
		if len(b.Records) != 0 || b.Read != 0 || b.ReadBytes != 0 || b.Filtered != 0 || b.Before != "" || b.After != "" ||
			b.Origin != nil || b.PositionAt != nil || b.Size() != 0 {
			t.Fatalf("a new batch is not empty: %+v", b)
		}
		r := b.Add()
		if r.Time != 0 || r.Level != LevelUnknown || r.Flags != 0 || r.Line != nil || r.Fields != nil ||
			r.Facility != NoFacility || r.Header == nil || r.Header.Host != nil {
			t.Fatalf("a new record is not cleared: %+v", r)
		}
		defer b.Release()
	}
}

func TestSizeCountsWhatIsHeld(t *testing.T) {
	b := NewBatch()
	defer b.Release()
	b.Alloc(1)
	small := b.Size()
	if small < 1 || small > 8<<10 {
		t.Errorf("a batch of one byte weighs %d", small)
	}
	b.Alloc(1 << 20)
	if b.Size() < 1<<20 {
		t.Errorf("a batch of a mebibyte weighs %d", b.Size())
	}
}

func TestReleaseTooOftenPanics(t *testing.T) {
	b := &Batch{} // not from the pool, which must not get it twice
	b.refs.Store(0)
	for name, f := range map[string]func(){"Release": b.Release, "Retain": func() { b.Retain(1) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a released batch does not panic", name)
				}
			}()
			b.refs.Store(0)
			f()
		}()
	}
}

// TestSharedBatch has many owners read a batch while others reuse what was
// released: run with -race.
func TestSharedBatch(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 200 {
				b := NewBatch()
				want := fmt.Sprintf("%d-%d", g, i)
				for range 20 {
					r := b.Add()
					r.Line = b.Copy([]byte(want))
					b.AddField(r, []byte("k"), b.Copy([]byte(want)))
					r.Header = b.NewHeader()
					r.Header.Host = r.Line
				}
				const owners = 3
				b.Retain(owners)
				var readers sync.WaitGroup
				for range owners {
					readers.Add(1)
					go func() {
						defer readers.Done()
						for k := range b.Records {
							r := &b.Records[k]
							if string(r.Line) != want || string(r.Field("k")) != want || string(r.Header.Host) != want {
								t.Errorf("batch %s holds %q", want, r.Line)
							}
						}
						b.Release()
					}()
				}
				b.Release()
				readers.Wait()
			}
		}()
	}
	wg.Wait()
}

func BenchmarkAddCopyField(b *testing.B) {
	line := bytes.Repeat([]byte("x"), 150)
	b.ReportAllocs()
	batch := NewBatch()
	for i := 0; b.Loop(); i++ {
		if i%1000 == 999 {
			batch.Release()
			batch = NewBatch()
		}
		r := batch.Add()
		r.Line = batch.Copy(line)
		batch.AddField(r, line[:3], line[3:6])
	}
	batch.Release()
}
