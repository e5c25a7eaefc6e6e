package pipeline

import "github.com/lbshipd/lbshipd/record"

// joinState is what a joiner holds back at one position of its input. It is
// immutable, and nil where nothing is held back. Lanes keep it, so that the next
// feed goes on with it: the other stream's lines, which lie between the parts,
// are not read twice.
type joinState struct{ streams [2]partial }

// state returns what is held back now.
func (j *joiner) state() *joinState {
	if j == nil || !j.streams[0].pending() && !j.streams[1].pending() {
		return nil
	}
	if j.lent != nil {
		return j.lent
	}
	s := &joinState{}
	for i := range j.streams {
		p := &j.streams[i]
		if p.pending() {
			p.lent = true
			s.streams[i] = *p
		}
	}
	j.lent = s
	return s
}

// restore makes the joiner go on with s.
func (j *joiner) restore(s *joinState) {
	if s != nil {
		j.streams, j.lent = s.streams, s
	}
}

// before is the position before the oldest part.
func (s *joinState) before() record.Position {
	j := joiner{streams: s.streams}
	pos, _ := j.held()
	return pos
}

// lines counts the lines that are held back.
func (s *joinState) lines() int64 {
	if s == nil {
		return 0
	}
	var n int64
	for i := range s.streams {
		if s.streams[i].pending() {
			n++
		}
	}
	return n
}

// same reports whether the same is held back in s and o, both of the same
// position of an input.
func (s *joinState) same(o *joinState) bool {
	if s == nil || o == nil || s == o {
		return s == o
	}
	for i := range s.streams {
		a, b := &s.streams[i], &o.streams[i]
		if a.pending() != b.pending() || a.pos != b.pos || len(a.line) != len(b.line) {
			return false
		}
	}
	return true
}
