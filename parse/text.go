package parse

import (
	"bytes"

	"github.com/lbshipd/lbshipd/record"
)

// textLine reads the header of a line of free text: a time near its start, in
// any layout that scanStamp knows, and a level.
//
// The header is what stands before the message: times, numbers, names of
// hosts, threads, files and classes, bracketed groups. It ends at the first
// word of plain language, because from there on a word like "error" is what
// the line is about and not what it is. A level counts only where it is set
// like one: in brackets, in capitals, followed by a colon, in a column of its
// own. Better no level than one that is too severe.
type textLine struct {
	at    stamp
	timed bool
	level record.Level
}

// How far a header may reach.
const (
	maxPrefixTokens = 8   // before the time
	maxHeaderTokens = 12  // behind it
	maxHeaderBytes  = 320 // each
)

func (t *textLine) apply(b *record.Batch, r *record.Record, o *Options) {
	got := found{level: t.level}
	if t.timed {
		got.time, got.hasTime = t.at.unix(o)
	}
	got.apply(b, r)
}

// scan reads the header of p.
func (t *textLine) scan(p []byte) {
	var h header
	h.p = p[:min(len(p), maxHeaderBytes)]
	h.cut = len(h.p) < len(p)
	plain, leading := 0, true // leading: only bracketed groups so far
	for n := 0; n < maxPrefixTokens; n++ {
		h.skipBlank()
		if h.i >= len(h.p) {
			break
		}
		if h.p[h.i] == '{' && t.level == record.LevelUnknown {
			break
		}
		if end, bracket, letter := t.timeAt(h.p, h.i, plain < 2); end > 0 && t.fits(&h, plain, bracket) {
			t.timed = true
			if letter != record.LevelUnknown && t.level == record.LevelUnknown {
				t.level = letter
			}
			t.behind(p, h.i, end)
			return
		}
		bracketed := h.p[h.i] == '['
		tok := h.token(leading && n < 3)
		if tok.level != record.LevelUnknown && t.level == record.LevelUnknown && leading {
			t.level = tok.level
		}
		if tok.stop {
			plain++
			h.skipWord()
		}
		if !bracketed && tok.kind != tokPunct {
			leading = false
		}
		if h.quoted() {
			break
		}
		if plain >= 2 { // only a time in brackets is one now
			next := bytes.IndexByte(h.p[h.i:], '[')
			if next < 0 {
				break
			}
			if bytes.IndexByte(h.p[h.i:h.i+next], '"') >= 0 {
				break
			}
			h.i += next
		}
	}
}

// fits reports whether a time may stand where it was found. One without a date
// does not follow a number, which may be a date that is none. Behind two plain
// words only an access log's [02/May/2024:10:11:12 +0000] is taken: in any other
// line that is the message already.
func (t *textLine) fits(h *header, plain int, bracket bool) bool {
	if plain >= 2 && (!bracket || h.i+3 >= len(h.p) || h.p[h.i+3] != '/') {
		return false
	}
	return t.at.epoch || t.at.month != 0 || h.prev != tokNumber
}

// behind reads what follows a time that ends at end and whose token began at start.
func (t *textLine) behind(p []byte, start, end int) {
	if t.level != record.LevelUnknown {
		return
	}
	if t.level = redisLevel(p, start, end); t.level != record.LevelUnknown {
		return
	}
	if t.level = cephLevel(p, end); t.level != record.LevelUnknown {
		return
	}
	h := header{p: p[end:min(len(p), end+maxHeaderBytes)], asctime: t.at.comma, afterTime: true}
	h.cut = len(h.p) < len(p)-end
	if len(h.p) > 1 && h.p[0] == ',' && h.p[1] == ' ' {
		h.column = true // Windows servicing: "04:30:30, Info    CBS"
	}
	for n := 0; n < maxHeaderTokens; n++ {
		h.skipBlank()
		if h.i >= len(h.p) {
			return
		}
		if h.p[h.i] == '{' { // JSON behind a time
			t.level = jsonFormat{}.Level(p[end+h.i:])
			return
		}
		tok := h.token(n == 0 || h.prev == tokPunct && n == 1)
		if tok.level != record.LevelUnknown {
			t.level = tok.level
			return
		}
		if tok.stop {
			return
		}
		if tok.kind != tokPunct {
			h.afterTime = false
		}
	}
}

// timeAt looks for a time at p[i], behind what may open it: a bracket, a
// quote, and in Tornado's and Jupyter's "[I 240502 10:11:12" a level's letter.
func (t *textLine) timeAt(p []byte, i int, bare bool) (end int, bracket bool, letter record.Level) {
	for n := 0; n < 6 && i < len(p); n++ {
		switch c := p[i]; c {
		case '[', '(', '<':
			bracket = true
			i++
		case '"', '\'', '#':
			i++
		case ' ':
			if !bracket {
				return 0, false, 0
			}
			i++
		case 0x1b:
			j := skipANSI(p, i)
			if j == i {
				return 0, false, 0
			}
			i = j
		default:
			n = 6
		}
	}
	if i >= len(p) || !bracket && !bare {
		return 0, false, 0
	}
	if bracket && i+2 < len(p) && p[i+1] == ' ' {
		if letter = letterLevel(p[i]); letter != record.LevelUnknown {
			i += 2
		}
	}
	if c := p[i]; !isDigit(c) && (c < 'A' || c > 'W') {
		return 0, false, 0
	}
	if end = t.at.scanStamp(p[i:]); end == 0 {
		return 0, false, 0
	}
	end += i
	if bracket && end < len(p) && (p[end] == ']' || p[end] == ')' || p[end] == '>') {
		end++
	}
	return end, bracket, letter
}

// letterLevel is the level of the letters that Android, glog, MongoDB, Gluster
// and Tornado use.
func letterLevel(c byte) record.Level {
	switch c {
	case 'V', 'T':
		return record.LevelTrace
	case 'D':
		return record.LevelDebug
	case 'I':
		return record.LevelInfo
	case 'N':
		return record.LevelNotice
	case 'W':
		return record.LevelWarning
	case 'E':
		return record.LevelError
	case 'C', 'F':
		return record.LevelCritical
	}
	return record.LevelUnknown
}

// redisLevel takes the sign behind the time of "1234:M 01 Jan 2024 00:00:00.000 * text".
func redisLevel(p []byte, start, end int) record.Level {
	if start < 4 || p[start-1] != ' ' || p[start-3] != ':' || !isDigit(p[start-4]) || end+3 > len(p) ||
		p[end] != ' ' || p[end+2] != ' ' {
		return record.LevelUnknown
	}
	switch p[end+1] {
	case '.':
		return record.LevelDebug
	case '-': // verbose, which Redis sends to syslog as informational
		return record.LevelInfo
	case '*':
		return record.LevelNotice
	case '#':
		return record.LevelWarning
	}
	return record.LevelUnknown
}

// cephLevel takes the thread and the level of a Ceph daemon's own log,
// "<time> 7f8b4c0b6700 -1 text": -1 is an error, 0 and 1 are what is logged by
// default, and more is debugging. A cluster log entry names its level itself.
func cephLevel(p []byte, i int) record.Level {
	if i+16 > len(p) || p[i] != ' ' || string(p[i+1:i+3]) != "7f" && string(p[i+1:i+5]) != "ffff" {
		return record.LevelUnknown
	}
	i++
	at := i
	for i < len(p) && unhex(p[i]) >= 0 {
		i++
	}
	if i-at != 12 {
		return record.LevelUnknown
	}
	for i < len(p) && p[i] == ' ' {
		i++
	}
	neg := i < len(p) && p[i] == '-'
	if neg {
		i++
	}
	n, end := number(p, i)
	if end == i || end-i > 2 || end >= len(p) || p[end] != ' ' {
		return record.LevelUnknown
	}
	if rest := p[end+1:]; hasPrefix(rest, "log_channel(") {
		h := header{p: rest[:min(len(rest), 80)]}
		for k := 0; k < 3; k++ {
			h.skipBlank()
			if h.i < len(h.p) && h.p[h.i] == '[' {
				return h.token(false).level
			}
			h.skipWord()
		}
	}
	switch {
	case neg:
		return record.LevelError
	case n <= 1:
		return record.LevelInfo
	}
	return record.LevelDebug
}
