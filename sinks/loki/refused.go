package loki

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// Loki counts refused lines and names few of them. Which they are follows from
// the counts: each of its rules refuses what is beyond one limit that is the
// same for the whole request (too old, too new, too long, too far behind), so
// that N refused lines are the N oldest, newest or longest. Where the words
// contradict that, the lines are sent again by halves (see sift).

// found is a refused record.
type found struct {
	f      *ref
	reason string
	detail string
}

// letter is a found record of the group by its place, for Deps.DeadLetter.
type letter struct {
	batch, record  int
	reason, detail string
}

// sourceOf returns the source of all records of the parts, and whether there
// is only one.
func sourceOf(parts []part) (string, bool) {
	var first *record.Origin
	for i := range parts {
		p := &parts[i]
		for j := p.from; j < p.to; j++ {
			o := p.st.refs[j].origin
			if first == nil {
				first = o
			}
			if o != first && o.Source != first.Source {
				return "", false
			}
		}
	}
	if first == nil {
		return "", true
	}
	return first.Source, true
}

// refuse notes a verdict that counts the refused lines, if it is known whose
// they are: of one source, or each by itself. If it is not, nothing is noted.
func (s *Sink) refuse(parts []part, a *answer, v *verdict, e earlier) bool {
	source, one := sourceOf(parts)
	if one && s.deps.DeadLetter == nil && !(e.again && v.speaksOf(reasonBehind)) {
		for i := range v.refusals {
			v.refusals[i].source = source
		}
		s.taken(parts, v.refusals)
		return true
	}
	all, ok := s.find(parts, a, v)
	if ok {
		s.takenBut(parts, all, e)
	}
	return ok
}

// takenBut notes that the parts are answered, and that all of what was found was
// refused but for what an earlier answer had stored.
func (s *Sink) takenBut(parts []part, all []found, e earlier) {
	var refused []tally
	for i := range all {
		x := &all[i]
		if e.stored(x) {
			continue
		}
		refused = addTally(refused, tally{x.f.origin.Source, x.reason, 1, x.detail})
		if s.deps.DeadLetter != nil {
			s.group.letters = append(s.group.letters, s.group.letter(x))
		}
	}
	s.taken(parts, refused)
}

// refuseAll notes that all lines of the parts are refused for one reason.
func (s *Sink) refuseAll(parts []part, reason, detail string, e earlier) {
	var all []found
	for i := range parts {
		all = append(all, parts[i].all(reason, detail)...)
	}
	s.takenBut(parts, all, e)
}

func (p *part) all(reason, detail string) []found {
	all := make([]found, 0, p.records())
	for i := p.from; i < p.to; i++ {
		all = append(all, found{&p.st.refs[i], reason, detail})
	}
	return all
}

// maxDetails bounds how many letters of a group have words of their own, which
// may be a kilobyte each; from then on they share them.
const maxDetails = 1000

// letter finds the place of a record in the group's batches.
func (g *group) letter(x *found) letter {
	at := uintptr(unsafe.Pointer(x.f.rec))
	for i, b := range g.batches {
		if len(b.Records) == 0 {
			continue
		}
		first := uintptr(unsafe.Pointer(&b.Records[0]))
		if n := (at - first) / unsafe.Sizeof(b.Records[0]); at >= first && n < uintptr(len(b.Records)) {
			l := letter{i, int(n), x.reason, x.detail}
			if k := len(g.letters) - 1; k > maxDetails && g.letters[k].reason == x.reason {
				l.detail = g.letters[k].detail
			}
			return l
		}
	}
	panic("loki: a record is in none of its group's batches")
}

// keepLetters hands over what was refused of the group, once it is answered.
func (s *Sink) keepLetters() {
	for _, l := range s.group.letters {
		s.deps.DeadLetter(s.group.batches[l.batch], l.record, l.reason, l.detail)
	}
}

// find returns the refused records of the parts, if the verdict leaves no
// doubt about them.
func (s *Sink) find(parts []part, a *answer, v *verdict) ([]found, bool) {
	if len(v.refusals) == 1 {
		if t := v.refusals[0]; t.records == recordsOf(parts) {
			var all []found
			for i := range parts {
				all = append(all, parts[i].all(t.reason, t.detail)...)
			}
			return all, true
		}
	}
	var left []*ref
	for i := range parts {
		p := &parts[i]
		for j := p.from; j < p.to; j++ {
			left = append(left, &p.st.refs[j])
		}
	}
	var all []found
	named := 0
	for _, rule := range rules { // in the order in which Loki tests them
		i := slices.IndexFunc(v.refusals, func(t tally) bool { return t.reason == rule.reason })
		if i < 0 {
			continue
		}
		named++
		t := &v.refusals[i]
		candidates := left
		if rule.reason == reasonBehind {
			var ok bool
			if candidates, ok = fromFirstNamed(left, a.body); !ok {
				return nil, false
			}
		}
		hit, ok := rule.pick(s, candidates, t)
		if !ok || rule.reason == reasonBehind && !agrees(hit, a.body) {
			return nil, false
		}
		gone := make(map[*ref]bool, len(hit))
		for _, f := range hit {
			all = append(all, found{f, t.reason, t.detail})
			gone[f] = true
		}
		left = slices.DeleteFunc(left, func(f *ref) bool { return gone[f] })
	}
	return all, named == len(v.refusals)
}

func recordsOf(parts []part) (n int) {
	for i := range parts {
		n += parts[i].records()
	}
	return n
}

// rule is one of Loki's: a line is refused if its rank is above a limit.
type rule struct {
	reason string
	rank   func(s *Sink, f *ref) int64
	limit  func(words string) (int64, bool) // above it is refused; false if the words do not say
}

// rules are those of Loki's distributor (pkg/distributor/validator.go,
// ValidateEntry) in its order, and of its ingester (pkg/ingester/stream.go).
var rules = []rule{
	{"too_old", func(_ *Sink, f *ref) int64 { return -f.rec.Time }, nil},
	{"too_new", func(_ *Sink, f *ref) int64 { return f.rec.Time }, nil},
	{"line_too_long", func(_ *Sink, f *ref) int64 { return int64(f.lineLen()) }, limitIn(`max entry size '(\d+)' bytes`)},
	{"metadata_disallowed", func(s *Sink, f *ref) int64 { return min(s.metadata.bytes(f), 1) }, func(string) (int64, bool) { return 0, true }},
	{"metadata_too_large", func(s *Sink, f *ref) int64 { return s.metadata.bytes(f) }, limitIn(`limit: '(\d+)' bytes`)},
	{"metadata_too_many", func(s *Sink, f *ref) int64 { return s.metadata.count(f) }, limitIn(`limit: '(\d+)'`)},
	{reasonBehind, func(_ *Sink, f *ref) int64 { return -f.rec.Time }, nil},
}

func limitIn(pattern string) func(string) (int64, bool) {
	re := regexp.MustCompile(pattern)
	return func(words string) (int64, bool) {
		m := re.FindStringSubmatch(words)
		if m == nil {
			return 0, false
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		return n, err == nil
	}
}

// pick returns the records of the highest rank, as many as were refused. It
// fails if the next one has the same rank, or if the limit that Loki names is
// not between the two.
func (r *rule) pick(s *Sink, from []*ref, t *tally) ([]*ref, bool) {
	if t.records > len(from) {
		return nil, false
	}
	type ranked struct {
		f    *ref
		rank int64
	}
	all := make([]ranked, 0, len(from))
	for _, f := range from {
		all = append(all, ranked{f, r.rank(s, f)})
	}
	slices.SortFunc(all, func(a, b ranked) int {
		switch {
		case a.rank > b.rank:
			return -1
		case a.rank < b.rank:
			return 1
		}
		return 0
	})
	lowest, next := all[t.records-1].rank, int64(math.MinInt64)
	if t.records < len(all) {
		if next = all[t.records].rank; next == lowest {
			return nil, false
		}
	}
	if r.limit != nil {
		if limit, ok := r.limit(t.detail); !ok || lowest <= limit || next > limit {
			return nil, false
		}
	}
	hit := make([]*ref, 0, t.records)
	for _, x := range all[:t.records] {
		hit = append(hit, x.f)
	}
	return hit, true
}

// ignoredEntry begins each of the lines that the ingester names, the first ten
// in the order of the request (pkg/ingester/stream.go, errorForFailedEntries).
var ignoredEntry = regexp.MustCompile(`(?:^|\n)entry with timestamp (\S+ \S+) \+0000 UTC ignored, reason: `)

func namedTimes(body string) (times []int64) {
	head, _, _ := strings.Cut(body, ignoredWords)
	for _, m := range ignoredEntry.FindAllStringSubmatch(head, -1) {
		if at, err := time.Parse("2006-01-02 15:04:05", m[1]); err == nil {
			times = append(times, at.UnixNano())
		}
	}
	return times
}

// oldestAcceptable is the limit in the words of the ingester's "entry too far
// behind", in whole seconds.
var oldestAcceptable = regexp.MustCompile(`oldest acceptable timestamp is: ([0-9T:.Z+-]+)`)

func behindLimit(body string) (time.Time, bool) {
	m := oldestAcceptable.FindStringSubmatch(body)
	if m == nil {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, m[1])
	return at, err == nil
}

// fromFirstNamed leaves out the records before the first one that the ingester
// names: it took them, though the newer lines behind them may have raised its limit
// above them since.
func fromFirstNamed(refs []*ref, body string) ([]*ref, bool) {
	times := namedTimes(body)
	if len(times) == 0 {
		return nil, false
	}
	is := func(f *ref) bool { return f.rec.Time == times[0] }
	i := slices.IndexFunc(refs, is)
	if i < 0 || slices.ContainsFunc(refs[:i], is) {
		return nil, false
	}
	return refs[i:], true
}

// agrees reports whether the records found are among those, and by the limit,
// that the ingester names.
func agrees(hit []*ref, body string) bool {
	limit, ok := behindLimit(body)
	if !ok {
		return false
	}
	has := map[int64]int{}
	for _, f := range hit {
		if f.rec.Time >= limit.Add(time.Second).UnixNano() {
			return false
		}
		has[f.rec.Time]++
	}
	for _, at := range namedTimes(body) {
		if has[at]--; has[at] < 0 {
			return false
		}
	}
	return true
}

// lineLen is the length of the line as it is sent.
func (f *ref) lineLen() int {
	if f.bad {
		return validLen(f.rec.Line)
	}
	return len(f.rec.Line)
}

// bytes is the size of a record's structured metadata as Loki measures it.
func (m metadata) bytes(f *ref) (n int64) {
	m.each(f, func(name, value int) { n += int64(name + value) })
	return n
}

// count is how many entries of structured metadata a record has.
func (m metadata) count(f *ref) (n int64) {
	m.each(f, func(int, int) { n++ })
	return n
}

func (m metadata) each(f *ref, do func(name, value int)) {
	for i := range m {
		text, raw := m[i].value(f.origin, f.rec)
		if n := validTextLen(text, raw); n > 0 {
			do(len(m[i].name), n)
		}
	}
}

// addRefusal adds a tally to the refusals of a Result: one for each source and
// reason, with the words that were said first.
func addRefusal(to []sinks.Refusal, t tally) []sinks.Refusal {
	for i := range to {
		if to[i].Reason == t.reason && to[i].Source == t.source {
			to[i].Records += t.records
			return to
		}
	}
	return append(to, sinks.Refusal{Source: t.source, Reason: t.reason, Records: t.records, Detail: t.detail})
}
