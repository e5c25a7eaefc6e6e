package main

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"
)

// book is the oracle's memory: what was written, and what each receiver took.
type book struct {
	mu      sync.Mutex
	seed    maphash.Seed
	writers map[string]*ledger
	names   []string // of writers, in the order of their creation
	targets []string
	found   []finding
	gaps    map[string]int // gap records that arrived, by target
	began   time.Time
	beside  map[string]int // records that came in another order and may, by target and reason
	samples []string       // the first of them
	// resets are when the TLS receiver's connections ended, Unix ns.
	resets func() []int64
	// restarted reports whether the daemon was started since a time, Unix ns.
	restarted func(since int64) bool
	// blind reports whether the daemon had to do without inotify.
	blind func() bool
}

// finding is a property that did not hold.
type finding struct{ kind, text string }

// duty says what is owed for a record.
type duty uint8

const (
	must   duty = iota // it has to arrive at every target
	may                // its source's minLevel changes: it may arrive or be filtered
	never              // it is below every minLevel that its source had
	refuse             // Loki has to refuse it, the others have to take it
)

// written is one record that was written.
type written struct {
	sum  uint64
	size int32 // bytes in the file, its newline included
	gen  int32 // of the file that it is in
	duty duty
	rank uint8 // of its level: below info 1, info 2, warning 3, error 4, unknown 9
	own  bool  // it carries a time of its own
	gone bool  // destroyed in its journal
	at   int64
}

// ledger is one writer's part of the book.
type ledger struct {
	name, source string
	copied       bool // its file is copied and truncated: the rest may come out of the copy, later
	unsafe       bool // its journal is damaged: what arrives may be garbled
	records      []written
	gens         []*generation
	at           map[string]*shelf
}

// generation is one file from its creation to its rotation.
type generation struct {
	made, ended time.Time // ended: renamed, deleted or truncated; zero: it is still written
	how         string
	vanished    time.Time // when the last name of it was gone, or its content; zero: it is still there
}

// brief reports whether it was rotated about as soon as it was made.
func (g *generation) brief() bool {
	return !g.ended.IsZero() && g.ended.Sub(g.made) < 300*time.Millisecond
}

// momentary reports whether it and the next file may have been born in one tick of the kernel's clock.
func (g *generation) momentary() bool {
	return !g.ended.IsZero() && g.ended.Sub(g.made) < 20*time.Millisecond
}

// shelf is what one target has of one writer.
type shelf struct {
	first  []int64          // by number: when it arrived first, Unix ns; 0: never
	times  []uint16         // by number: how often
	stored map[uint64]int   // Loki: copies by stream and number
	last   map[string]int   // by stream: the highest number that arrived
	refuse map[int]struct{} // numbers that it refused for good
	late   map[int]struct{} // numbers that it sent away once, while it took what follows them
}

func newBook(targets ...string) *book {
	return &book{seed: maphash.MakeSeed(), writers: map[string]*ledger{}, targets: targets, began: time.Now(), beside: map[string]int{}, resets: func() []int64 { return nil }, gaps: map[string]int{}}
}

// open begins the ledger of a writer.
func (b *book) open(name, source string) *ledger {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &ledger{name: name, source: source, at: map[string]*shelf{}}
	for _, t := range b.targets {
		l.at[t] = &shelf{stored: map[uint64]int{}, last: map[string]int{}, refuse: map[int]struct{}{}, late: map[int]struct{}{}}
	}
	b.writers[name] = l
	b.names = append(b.names, name)
	return l
}

// wrote notes a record; payload is what has to arrive. It is called before the
// write, so that it cannot arrive unknown; a write that fails is forgotten.
func (b *book) wrote(l *ledger, w written, payload []byte) {
	w.sum = maphash.Bytes(b.seed, payload)
	w.at = time.Now().UnixNano()
	b.mu.Lock()
	defer b.mu.Unlock()
	l.records = append(l.records, w)
	for _, s := range l.at {
		s.first = append(s.first, 0)
		s.times = append(s.times, 0)
	}
}

func (b *book) find(kind, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.findLocked(kind, format, args...)
}

func (b *book) findLocked(kind, format string, args ...any) {
	b.found = append(b.found, finding{kind, fmt.Sprintf(format, args...)})
}

// arrival is one record at a receiver.
type arrival struct {
	target, stream string
	at             int64 // its time, Unix ns; Loki only
	payload        []byte
}

// arrived notes a record that a receiver took for good.
func (b *book) arrived(a arrival) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, n := b.whose(a.payload)
	if l == nil {
		if bytes.HasPrefix(a.payload, []byte("lbshipd: ")) {
			b.gaps[a.target]++
		} else if !b.anyUnsafe() {
			b.findLocked("strange", "%s has a line that nobody wrote: %.200q", a.target, a.payload)
		}
		return
	}
	w, s := &l.records[n], l.at[a.target]
	if maphash.Bytes(b.seed, a.payload) != w.sum {
		if !l.unsafe {
			b.findLocked("payload", "%s: %s %d is not what was written: %.200q", a.target, l.name, n, a.payload)
		}
		return
	}
	if w.duty == never {
		b.findLocked("filter", "%s: %s %d is below the minimum level", a.target, l.name, n)
	}
	if s.times[n]++; s.times[n] == 1 {
		s.first[n] = time.Now().UnixNano()
		if last, known := s.last[a.stream]; known && last > n {
			b.outOfOrder(l, a, n, last)
		} else {
			s.last[a.stream] = n
		}
	}
}

// outOfOrder looks whether a record may come behind a later one.
func (b *book) outOfOrder(l *ledger, a arrival, n, last int) {
	w, behind := &l.records[n], &l.records[last]
	if _, late := l.at[a.target].late[n]; late || l.copied {
		return
	}
	if a.target == "siem" && slices.ContainsFunc(b.resets(), func(t int64) bool { return t > w.at && t <= l.at[a.target].first[last] }) {
		b.excuseOrder(l, a, n, last, "reset") // what its kernel threw away and a restart sends again
		return
	}
	if w.duty == may && b.restarted != nil && b.restarted(w.at) {
		b.excuseOrder(l, a, n, last, "filtered before") // and is read again under another minLevel
		return
	}
	if w.gen != behind.gen && (l.gens[w.gen].momentary() || l.gens[w.gen].brief() && b.blind != nil && b.blind()) {
		// Births within one tick of the kernel's clock are not told apart; and without inotify
		// a file that was rotated before it was looked for is found behind the next one.
		b.excuseOrder(l, a, n, last, "found late")
		return
	}
	b.findLocked("order", "%s: %s %d (file %d) came first behind %d (file %d) at %.3f in %s", a.target, l.name, n, w.gen, last, behind.gen,
		time.Since(b.began).Seconds(), a.stream)
}

// excuseOrder counts records that may come behind a later one, by target and
// reason, and keeps the first few of each for the diary.
func (b *book) excuseOrder(l *ledger, a arrival, n, last int, why string) {
	key := a.target + " " + why
	if b.beside[key]++; b.beside[key] <= 20 {
		b.samples = append(b.samples, fmt.Sprintf("%s: %s %d (file %d) came behind %d (file %d) at %.3f", key, l.name, n, l.records[n].gen, last, l.records[last].gen,
			time.Since(b.began).Seconds()))
	}
}

// stored notes a copy that Loki keeps beside others of the same record.
func (b *book) stored(a arrival) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, n := b.whose(a.payload)
	if l == nil || l.unsafe {
		return
	}
	key := maphash.String(b.seed, a.stream) ^ uint64(n)*0x9e3779b97f4a7c15
	s := l.at[a.target]
	if s.stored[key]++; s.stored[key] > 1 && l.records[n].own {
		b.findLocked("twice", "%s stores %s %d more than once, last with time %d, in %s", a.target, l.name, n, a.at, a.stream)
	}
}

// refused notes a record that a receiver refused for good.
func (b *book) refused(target string, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, n := b.whose(payload)
	if l == nil {
		return
	}
	l.at[target].refuse[n] = struct{}{}
}

// late notes a message that a receiver sent away while it goes on to take
// those that were sent behind it.
func (b *book) late(target string, message []byte) {
	msg, err := messageOf(message)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if l, n := b.whose(msg); l != nil {
		l.at[target].late[n] = struct{}{}
	}
}

// whose finds who wrote a line: it holds "@w=NAME;n=NUMBER;" somewhere.
func (b *book) whose(payload []byte) (*ledger, int) {
	_, rest, ok := bytes.Cut(payload, []byte("@w="))
	if !ok {
		return nil, 0
	}
	name, rest, ok := bytes.Cut(rest, []byte(";n="))
	if !ok {
		return nil, 0
	}
	number, _, ok := bytes.Cut(rest, []byte(";"))
	if !ok || len(number) > 12 {
		return nil, 0
	}
	l := b.writers[string(name)]
	n, err := strconv.Atoi(string(number))
	if l == nil || err != nil || n < 0 || n >= len(l.records) {
		return nil, 0
	}
	return l, n
}

func (b *book) anyUnsafe() bool {
	for _, l := range b.writers {
		if l.unsafe {
			return true
		}
	}
	return false
}

// id is what whose finds.
func id(writer string, n int) string { return "@w=" + writer + ";n=" + strconv.Itoa(n) + ";" }
