package parse

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

// logfmtFormat takes lines of key=value pairs, as logrus, slog's text handler,
// go-kit and Heroku write them.
//
// The rules are go-logfmt's: pairs are set apart by bytes up to and including
// the space; a key is any run of bytes above the space but = and "; a value
// is either quoted, with a backslash before what is special, or a run of bytes
// above the space; a key may stand alone. They are wider in one point, for
// real life: an unquoted value may hold = and ". They are narrower in another:
// the first word must be a pair, for otherwise every sentence would be logfmt. Quoted values
// may hold the escapes that strconv.Quote writes (logrus, slog) and JSON's
// surrogate pairs; an escape that is neither is left as it is.
//
// The first well-known key of a kind counts, as for JSON.
type logfmtFormat struct{}

// logfmtScan walks the pairs of a line.
type logfmtScan struct {
	p   []byte
	i   int
	bad bool // the line broke a rule
}

const (
	kindBare   = 'b' // a key alone
	kindPlain  = 'p' // an unquoted value
	kindQuoted = '"'
)

func (s *logfmtScan) next(m *member) bool {
	p, i := s.p, s.i
	for i < len(p) && p[i] <= ' ' {
		i++
	}
	if i >= len(p) {
		return false
	}
	at := i
	for i < len(p) && p[i] > ' ' && p[i] != '=' && p[i] != '"' {
		i++
	}
	if i == at || i < len(p) && p[i] == '"' {
		s.bad = true
		return false
	}
	m.key, m.val, m.kind, m.valEsc = p[at:i:i], nil, kindBare, false
	if i >= len(p) || p[i] != '=' {
		s.i = i
		return true
	}
	i++
	if i < len(p) && p[i] == '"' {
		end, esc := scanQuoted(p, i+1)
		if end < 0 || end+1 < len(p) && p[end+1] > ' ' {
			s.bad = true
			return false
		}
		m.val, m.kind, m.valEsc = p[i+1:end:end], kindQuoted, esc
		s.i = end + 1
		return true
	}
	at = i
	for i < len(p) && p[i] > ' ' {
		i++
	}
	m.val, m.kind = p[at:i:i], kindPlain
	s.i = i
	return true
}

// scanQuoted finds the closing quote from p[i], or -1.
func scanQuoted(p []byte, i int) (end int, esc bool) {
	n := bytes.IndexByte(p[i:], '"')
	if n < 0 {
		return -1, false
	}
	if bytes.IndexByte(p[i:i+n], '\\') < 0 {
		return i + n, false
	}
	for ; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return i, true
		}
	}
	return -1, true
}

// startsWithPair reports whether p begins with key=, of a key that looks like
// one: letters, digits, and what joins them.
func startsWithPair(p []byte) bool {
	i := 0
	for i < len(p) && (wordAt(p, i) || p[i] == '_' || p[i] == '.' || p[i] == '-' || p[i] == '@') {
		i++
	}
	return i > 0 && i < len(p) && p[i] == '=' && !(i+1 < len(p) && p[i+1] == '=') && !isDigit(p[0])
}

// Level reads pairs up to the first that tells the level.
func (logfmtFormat) Level(line []byte) record.Level {
	s := logfmtScan{p: line}
	var m member
	if !s.next(&m) || m.kind == kindBare {
		return record.LevelUnknown
	}
	for more := true; more; more = s.next(&m) {
		if level := logfmtLevel(&m, wellKnown(m.key)); level != record.LevelUnknown {
			return level
		}
	}
	return record.LevelUnknown
}

func logfmtLevel(m *member, class keyClass) record.Level {
	if class != keyLevel && (class != keyLevelWord || len(m.val) == 0 || !isLetter(m.val[0])) || m.valEsc {
		return record.LevelUnknown
	}
	return record.ParseLevel(trimSpace(m.val))
}

func (f logfmtFormat) Parse(b *record.Batch, r *record.Record, o *Options) bool {
	_, ok := f.parse(b, r, o, false)
	return ok
}

// parse is Parse; if strict, a line that has none of level, time and message
// is not of the format.
func (logfmtFormat) parse(b *record.Batch, r *record.Record, o *Options, strict bool) (level record.Level, ok bool) {
	s := logfmtScan{p: r.Line}
	var (
		m      member
		got    found
		escMsg bool
		weak   uint
		taken  uint64
	)
	for i := uint(0); s.next(&m); i++ {
		if i == 0 && m.kind == kindBare {
			return 0, false
		}
		take := false
		switch class := wellKnown(m.key); class {
		case keyOther:
			continue
		case keyLevel, keyLevelWord:
			if got.level == record.LevelUnknown {
				got.level = logfmtLevel(&m, class)
				take = got.level != record.LevelUnknown
			}
		case keyTime:
			if !got.hasTime && !m.valEsc {
				got.time, got.hasTime = parseTime(m.val, o)
				take = got.hasTime
			}
		case keyMessage, keyWeakMessage, keyLog:
			isWeak := class != keyMessage
			if m.kind == kindBare || got.message != nil && (isWeak || !got.weakMsg) {
				break
			}
			if got.weakMsg {
				taken &^= 1 << weak
			}
			take = true
			got.message, got.weakMsg, escMsg, weak = m.val, isWeak, m.valEsc, i
		default:
			take = !m.valEsc && len(m.val) > 0 && got.setHeaderBytes(class, m.val)
		}
		if take && i < 64 {
			taken |= 1 << i
		}
	}
	if s.bad || s.i == 0 || strict && got.level == 0 && !got.hasTime && got.message == nil {
		return got.level, false
	}
	if escMsg {
		got.message = unquoteGo(b, got.message)
	}
	got.apply(b, r)
	if o.Fields {
		addLogfmtFields(b, r, o.MaxFields, taken)
	}
	return got.level, true
}

func addLogfmtFields(b *record.Batch, r *record.Record, limit int, taken uint64) {
	s := logfmtScan{p: r.Line}
	var m member
	add := fieldAdder{b, r, limit}
	for i := uint(0); add.left > 0 && s.next(&m); i++ {
		if i < 64 && taken>>i&1 == 1 {
			continue
		}
		if m.valEsc {
			m.val = unquoteGo(b, m.val)
		}
		add.add(m.key, m.val)
	}
}

// unquoteGo returns the text between Go's double quotes, in the batch's memory.
func unquoteGo(b *record.Batch, p []byte) []byte {
	out := b.Alloc(len(p)) // no escape is shorter than what it stands for
	n := 0
	for i := 0; i < len(p); {
		if p[i] != '\\' || i+1 >= len(p) {
			out[n] = p[i]
			n, i = n+1, i+1
			continue
		}
		w, end := goEscape(out[n:], p, i+1)
		if end == 0 { // not an escape
			out[n] = p[i]
			n, i = n+1, i+1
			continue
		}
		n, i = n+w, end
	}
	b.Shrink(len(out), n)
	return out[:n:n]
}

// goEscape writes what the escape at p[i], behind the backslash, stands for,
// and returns how long that is and where the escape ends; 0 if it is none.
func goEscape(out, p []byte, i int) (n, end int) {
	switch c := p[i]; c {
	case 'a', 'b', 'f', 'n', 'r', 't', 'v':
		out[0] = map7[c-'a']
		return 1, i + 1
	case '\\', '"', '\'', '/':
		out[0] = c
		return 1, i + 1
	case 'x':
		if v, ok := hexDigits(p, i+1, 2); ok {
			out[0] = byte(v)
			return 1, i + 3
		}
	case 'u':
		if v, ok := hexDigits(p, i+1, 4); ok {
			end = i + 5
			if utf16.IsSurrogate(v) {
				v, end = lowSurrogate(p, end, v)
			}
			return utf8.EncodeRune(out, v), end
		}
	case 'U':
		if v, ok := hexDigits(p, i+1, 8); ok {
			return utf8.EncodeRune(out, v), i + 9
		}
	}
	return 0, 0
}

// map7 holds what \a to \v stand for, by letter.
var map7 = [...]byte{'a' - 'a': '\a', 'b' - 'a': '\b', 'f' - 'a': '\f', 'n' - 'a': '\n', 'r' - 'a': '\r', 't' - 'a': '\t', 'v' - 'a': '\v'}

func hexDigits(p []byte, i, n int) (v rune, ok bool) {
	if i+n > len(p) {
		return 0, false
	}
	for _, c := range p[i : i+n] {
		d := unhex(c)
		if d < 0 {
			return 0, false
		}
		v = v<<4 | rune(d)
	}
	return v, true
}
