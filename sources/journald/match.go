package journald

import (
	"bytes"
	"fmt"
	"sort"
	"strings"

	"github.com/lbshipd/lbshipd/config"
)

// The operators of a match expression.
type operator uint8

const (
	opLeaf operator = iota
	opAnd
	opOr
)

// term is a node of a match expression: a leaf, or all or any of its kids.
type term struct {
	op   operator
	kids []term
	leaf int
}

// leafSpec is what a leaf asks for: one payload "FIELD=value", or all values
// of a field that a glob matches.
type leafSpec struct {
	payload []byte
	field   string
	glob    string
}

// matcher is a match expression over the fields of an entry. It is immutable.
type matcher struct {
	root   term
	leaves []leafSpec
}

// newMatcher builds the expression of journalctl for units (-u), identifiers
// (-t) and matches (FIELD=value, "+"); nil if all entries match. The three
// groups must all hold.
func newMatcher(units, identifiers, matches []string) (*matcher, error) {
	m := &matcher{root: term{op: opAnd}}
	if err := m.addUnits(units); err != nil {
		return nil, err
	}
	if len(identifiers) > 0 {
		or := term{op: opOr}
		for _, id := range identifiers {
			or.kids = append(or.kids, m.literal("SYSLOG_IDENTIFIER", id))
		}
		m.root.kids = append(m.root.kids, or)
	}
	if err := m.addMatches(matches); err != nil {
		return nil, err
	}
	if len(m.root.kids) == 0 {
		return nil, nil
	}
	return m, nil
}

func matcherOf(s *config.JournaldSource) (*matcher, error) {
	return newMatcher(s.Units, s.Identifiers, s.Matches)
}

// literal makes a leaf. Equal leaves are not shared: each walks its entries at
// the pace of the terms around it.
func (m *matcher) literal(field, value string) term {
	m.leaves = append(m.leaves, leafSpec{payload: []byte(field + "=" + value), field: field})
	return term{leaf: len(m.leaves) - 1}
}

func (m *matcher) glob(field, pattern string) term {
	m.leaves = append(m.leaves, leafSpec{field: field, glob: pattern})
	return term{leaf: len(m.leaves) - 1}
}

// coredumpMessageID is SD_MESSAGE_COREDUMP of sd-messages.h.
const coredumpMessageID = "fc2e22bc6ee647b6b90729ab34a250b1"

// addUnits adds what journalctl -u adds (systemd 252, add_matches_for_unit):
// what the unit logged, what PID 1 and other daemons of root logged about it,
// its core dumps, and for a slice what all of its units logged.
func (m *matcher) addUnits(units []string) error {
	if len(units) == 0 {
		return nil
	}
	or := term{op: opOr}
	for _, u := range units {
		name, err := mangleUnit(u)
		if err != nil {
			return err
		}
		of := m.literal
		slice := strings.HasSuffix(name, ".slice")
		if isGlob(name) {
			of, slice = m.glob, true
		}
		or.kids = append(or.kids,
			of("_SYSTEMD_UNIT", name),
			term{op: opAnd, kids: []term{m.literal("MESSAGE_ID", coredumpMessageID), m.literal("_UID", "0"), of("COREDUMP_UNIT", name)}},
			term{op: opAnd, kids: []term{m.literal("_PID", "1"), of("UNIT", name)}},
			term{op: opAnd, kids: []term{m.literal("_UID", "0"), of("OBJECT_SYSTEMD_UNIT", name)}})
		if slice {
			or.kids = append(or.kids, of("_SYSTEMD_SLICE", name))
		}
	}
	m.root.kids = append(m.root.kids, or)
	return nil
}

// addMatches adds FIELD=value matches: those of one field are alternatives,
// different fields must all match; "+" starts an alternative to all before it.
func (m *matcher) addMatches(matches []string) error {
	if len(matches) == 0 {
		return nil
	}
	any := term{op: opOr}
	var fields []string
	byField := map[string]*term{}
	flush := func() error {
		if len(fields) == 0 {
			return fmt.Errorf("journal match \"+\" has nothing on one side")
		}
		all := term{op: opAnd}
		for _, f := range fields {
			all.kids = append(all.kids, *byField[f])
		}
		any.kids = append(any.kids, all)
		fields, byField = nil, map[string]*term{}
		return nil
	}
	for _, s := range matches {
		if s == "+" {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		field, value, ok := strings.Cut(s, "=")
		if !ok || !validField(field) {
			return fmt.Errorf("journal match %q is not of the form FIELD=value", s)
		}
		if byField[field] == nil {
			byField[field] = &term{op: opOr}
			fields = append(fields, field)
		}
		byField[field].kids = append(byField[field].kids, m.literal(field, value))
	}
	if err := flush(); err != nil {
		return err
	}
	m.root.kids = append(m.root.kids, any)
	return nil
}

// validField reports whether name can be a field in a match: upper case
// letters, digits and underscores, not beginning with two underscores.
func validField(name string) bool {
	if name == "" || len(name) > 64 || strings.HasPrefix(name, "__") {
		return false
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// leafState is what a leaf is in one file.
type leafState struct {
	offs    []uint64 // its data objects, ascending
	field   uint64   // the field object, for globs
	newest  uint64   // newest value of the field seen, for globs
	cursors []leafCursor
}

// fileMatch is a matcher applied to one file.
type fileMatch struct {
	m      *matcher
	leaves []leafState
	data   uint64 // header's count of data objects when last resolved
	ready  bool
	kinds  map[uint64][]int // by content: the leaves a data object satisfies; broken files only
}

// resolve finds the data objects of the leaves, and again once the file has
// new ones. It must be called after the header was read that says which
// entries are published: what they use is then found.
func (fm *fileMatch) resolve(f *file, z *inflater) {
	if fm.ready && f.hdr.data != 0 && f.hdr.data == fm.data || f.hashBroken {
		return
	}
	if fm.leaves == nil {
		fm.leaves = make([]leafState, len(fm.m.leaves))
	}
	for i := range fm.m.leaves {
		if err := fm.resolveLeaf(f, z, i); err != nil {
			if f.hdr.state != stateOnline {
				f.hashBroken = true
			}
			return // an online file may be at work there: once more next time
		}
	}
	fm.data, fm.ready = f.hdr.data, true
}

func (fm *fileMatch) resolveLeaf(f *file, z *inflater, i int) error {
	l, spec := &fm.leaves[i], &fm.m.leaves[i]
	if spec.glob == "" {
		if len(l.offs) > 0 {
			return nil
		}
		off, err := f.findData(spec.payload, z)
		if err != nil || off == 0 {
			return err
		}
		l.offs = append(l.offs, off)
		return nil
	}
	if l.field == 0 {
		off, err := f.findField(spec.field)
		if err != nil || off == 0 {
			return err
		}
		l.field = off
	}
	newest, err := f.fieldValues(l.field, l.newest, z, func(off uint64, payload []byte) {
		if len(payload) > len(spec.field) && matchGlob(spec.glob, string(payload[len(spec.field)+1:])) {
			l.offs = append(l.offs, off)
		}
	})
	if err != nil {
		return err
	}
	l.newest = newest
	sort.Slice(l.offs, func(a, b int) bool { return l.offs[a] < l.offs[b] })
	return nil
}

// matches reports whether an entry with these data objects matches.
func (fm *fileMatch) matches(t *term, items []uint64) bool {
	switch t.op {
	case opAnd:
		for i := range t.kids {
			if !fm.matches(&t.kids[i], items) {
				return false
			}
		}
		return true
	case opOr:
		for i := range t.kids {
			if fm.matches(&t.kids[i], items) {
				return true
			}
		}
		return false
	}
	for _, off := range fm.leaves[t.leaf].offs {
		for _, item := range items {
			if item == off {
				return true
			}
		}
	}
	return false
}

// matchesContent does the same by what the data objects hold, for files whose
// hash tables are broken.
func (fm *fileMatch) matchesContent(f *file, z *inflater, items []uint64) bool {
	if fm.kinds == nil || len(fm.kinds) > 1<<16 {
		fm.kinds = map[uint64][]int{}
	}
	has := make([]bool, len(fm.m.leaves))
	for _, off := range items {
		kinds, known := fm.kinds[off]
		if !known {
			kinds = fm.classify(f, z, off)
			fm.kinds[off] = kinds
		}
		for _, k := range kinds {
			has[k] = true
		}
	}
	return holds(&fm.m.root, has)
}

func (fm *fileMatch) classify(f *file, z *inflater, off uint64) (kinds []int) {
	var h dataHeader
	p, err := f.readData(off, z.limit, &h)
	if err == nil {
		p, err = z.inflate(h.flags, p)
	}
	if err != nil {
		return nil
	}
	for i := range fm.m.leaves {
		l := &fm.m.leaves[i]
		if l.glob == "" && bytes.Equal(p, l.payload) {
			kinds = append(kinds, i)
		}
		if n := len(l.field); l.glob != "" && len(p) > n && p[n] == '=' && string(p[:n]) == l.field && matchGlob(l.glob, string(p[n+1:])) {
			kinds = append(kinds, i)
		}
	}
	return kinds
}

func holds(t *term, has []bool) bool {
	switch t.op {
	case opAnd:
		for i := range t.kids {
			if !holds(&t.kids[i], has) {
				return false
			}
		}
		return true
	case opOr:
		for i := range t.kids {
			if holds(&t.kids[i], has) {
				return true
			}
		}
		return false
	}
	return has[t.leaf]
}
