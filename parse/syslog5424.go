package parse

import "github.com/lbshipd/lbshipd/record"

// syslog5424Format takes RFC 5424 messages:
//
//	<PRI>1 2003-10-11T22:14:15.003Z host app procid msgid [sd@1 a="b"] message
//
// The header is held to section 6.2, with these exceptions for real senders: fields may
// be longer than allowed and hold any byte above the space, a fraction may have more
// than six digits, the zone may be missing, and structured data that is
// missing or broken counts as the beginning of the message. Parameters become
// fields named SD-ID.PARAM. A byte order mark before the message is taken off.
type syslog5424Format struct{}

// Level is the severity of the PRI.
func (syslog5424Format) Level(line []byte) record.Level { return priLevel(line) }

// header5424 is a header taken apart; the nil value - is nil.
type header5424 struct {
	pri   int
	at    stamp
	timed bool
	words [4][]byte // HOSTNAME, APP-NAME, PROCID, MSGID
	sd    int       // where STRUCTURED-DATA begins
}

// splitHeader5424 takes the header off; false if there is none.
func splitHeader5424(p []byte, h *header5424) bool {
	pri, i := scanPRI(p)
	if i == 0 || i+4 > len(p) || p[i]-'1' > 8 {
		return false
	}
	h.pri = pri
	for n := 1; n < 3 && digitAt(p, i+1); n++ {
		i++
	}
	if i++; i+2 > len(p) || p[i] != ' ' {
		return false
	}
	i++
	if p[i] == '-' {
		i++
	} else {
		if len(p)-i < 19 || p[i+10]|0x20 != 't' || p[i+4] != '-' {
			return false
		}
		end := h.at.scanISO(p[i:])
		if end == 0 {
			return false
		}
		h.timed = true
		i += end
	}
	for n := range h.words {
		if i >= len(p) || p[i] != ' ' {
			return false
		}
		i++
		at := i
		for i < len(p) && p[i] > ' ' {
			i++
		}
		if i == at {
			return false
		}
		if i-at > 1 || p[at] != '-' {
			h.words[n] = p[at:i:i]
		}
	}
	if i < len(p) && p[i] != ' ' {
		return false
	}
	h.sd = min(i+1, len(p))
	return true
}

func (syslog5424Format) Parse(b *record.Batch, r *record.Record, o *Options) bool {
	var h header5424
	line := r.Line
	if !splitHeader5424(line, &h) {
		return false
	}
	sdEnd := skipStructuredData(line, h.sd)
	msg := line[sdEnd:]
	if sdEnd > h.sd && len(msg) > 0 {
		msg = msg[1:] // the space
	}
	if hasPrefix(msg, "\xef\xbb\xbf") {
		msg = msg[3:]
	}
	got := found{
		level: record.FromSeverity(uint8(h.pri & 7)), message: msg,
		host: h.words[0], identifier: h.words[1], pid: h.words[2], msgID: h.words[3],
	}
	if h.timed {
		got.time, got.hasTime = h.at.unix(o)
	}
	r.Facility = uint8(h.pri >> 3)
	r.Flags |= record.SyslogLine
	got.apply(b, r)
	if o.Fields && sdEnd > h.sd && line[h.sd] == '[' {
		addStructuredData(b, r, o.MaxFields, line[h.sd:sdEnd])
	}
	return true
}

// skipStructuredData returns where the structured data at p[i] ends, or i if
// there is none that is well formed.
func skipStructuredData(p []byte, i int) int {
	if i < len(p) && p[i] == '-' && (i+1 == len(p) || p[i+1] == ' ') {
		return i + 1
	}
	s := sdScan{p: p, i: i}
	for s.next() {
	}
	if s.bad || s.i < len(p) && p[s.i] != ' ' {
		return i
	}
	return s.i
}

// addStructuredData adds the parameters of well-formed structured data.
func addStructuredData(b *record.Batch, r *record.Record, limit int, sd []byte) {
	add := fieldAdder{b, r, limit}
	for s := (sdScan{p: sd}); add.left > 0 && s.next(); {
		if s.name == nil {
			continue
		}
		name := b.Alloc(len(s.id) + 1 + len(s.name))
		n := copy(name, s.id)
		name[n] = '.'
		copy(name[n+1:], s.name)
		val := s.val
		if s.esc {
			val = unescapeSD(b, val)
		}
		add.add(name, val)
	}
}

// sdScan walks the parameters of STRUCTURED-DATA (RFC 5424 section 6.3).
type sdScan struct {
	p    []byte
	i    int
	open bool   // within an element
	bad  bool   // it is not well formed
	esc  bool   // val holds escapes
	id   []byte // SD-ID
	name []byte // PARAM-NAME; nil for an element's opening
	val  []byte
}

// next reads an element's opening or a parameter; false at the end.
func (s *sdScan) next() bool {
	p := s.p
	s.name, s.val, s.esc = nil, nil, false
	if !s.open {
		if s.i >= len(p) || p[s.i] != '[' {
			s.bad = s.id == nil
			return false
		}
		at := s.i + 1
		end := sdName(p, at)
		if end == at {
			s.bad = true
			return false
		}
		s.id, s.i, s.open = p[at:end:end], end, true
		return true
	}
	i := s.i
	if i < len(p) && p[i] == ']' {
		s.i, s.open = i+1, false
		return s.next()
	}
	for i < len(p) && p[i] == ' ' {
		i++
	}
	if i < len(p) && p[i] == ']' && i > s.i { // a space before the bracket, as some write it
		s.i, s.open = i+1, false
		return s.next()
	}
	end := sdName(p, i)
	if i == s.i || end == i || end+1 >= len(p) || p[end] != '=' || p[end+1] != '"' {
		s.bad = true
		return false
	}
	s.name = p[i:end:end]
	at := end + 2
	for i = at; i < len(p) && p[i] != '"'; i++ {
		if p[i] == '\\' {
			s.esc = true
			i++
		}
	}
	if i >= len(p) {
		s.bad = true
		return false
	}
	s.val, s.i = p[at:i:i], i+1
	return true
}

func sdName(p []byte, i int) int {
	for i < len(p) && p[i] > ' ' && p[i] != '=' && p[i] != ']' && p[i] != '"' {
		i++
	}
	return i
}

// unescapeSD takes the backslash off \", \\ and \]; any other is itself
// (RFC 5424 section 6.3.3).
func unescapeSD(b *record.Batch, p []byte) []byte {
	out := b.Alloc(len(p))
	n := 0
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '\\' && i+1 < len(p) && (p[i+1] == '"' || p[i+1] == '\\' || p[i+1] == ']') {
			i++
			c = p[i]
		}
		out[n] = c
		n++
	}
	b.Shrink(len(out), n)
	return out[:n:n]
}
