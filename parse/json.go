package parse

import "github.com/lbshipd/lbshipd/record"

// jsonFormat takes lines that are one JSON object each.
//
// The level, the time and the message are the values of the first well-known
// keys (see wellKnown) that make sense as such: where a key is there twice, or
// two keys mean the same, the first counts, so that Level can stop early. (encoding/json
// lets the last one win.) Every other member becomes a field: strings without
// their escapes, anything else as its JSON text. A line whose JSON is broken
// behind its level has that level for Level, and none for Parse.
type jsonFormat struct {
	zap bool // zap's keys only, and one of level and msg must be there
}

func (f jsonFormat) class(m *member) keyClass {
	if m.keyEsc {
		return keyOther
	}
	if f.zap {
		return zapKey(m.key)
	}
	return wellKnown(m.key)
}

// Level reads members up to the first that tells the level.
func (f jsonFormat) Level(line []byte) record.Level {
	var s jsonScan
	var m member
	var l levelFinder
	if !s.open(line) {
		return record.LevelUnknown
	}
	for s.next(&m) {
		if l.see(&m, f.class(&m)); l.level != record.LevelUnknown {
			return l.level
		}
	}
	return l.atEnd(s.ended)
}

func (f jsonFormat) Parse(b *record.Batch, r *record.Record, o *Options) bool {
	var (
		s      jsonScan
		m      member
		l      levelFinder
		got    found
		escMsg bool
		weak   uint // index of the member that is the weak message
		taken  uint64
	)
	if !s.open(r.Line) {
		return false
	}
	known := false
	for i := uint(0); s.next(&m); i++ {
		class := f.class(&m)
		had := l.level
		l.see(&m, class)
		take := l.level != had
		switch class {
		case keyOther:
			continue
		case keyLevel:
			known = true
		case keyTime:
			if !got.hasTime {
				got.time, got.hasTime = jsonTime(&m, o)
				take = got.hasTime
			}
		case keyMessage, keyWeakMessage, keyLog:
			isWeak := class != keyMessage
			if m.kind != '"' || got.message != nil && (isWeak || !got.weakMsg) {
				take = false // the log object has more than the level
				break
			}
			if got.weakMsg {
				taken &^= 1 << weak
			}
			known, take = true, true
			got.message, got.weakMsg, escMsg, weak = m.val, isWeak, m.valEsc, i
		default:
			take = got.setHeaderValue(class, &m) || take
		}
		if take && i < 64 {
			taken |= 1 << i
		}
	}
	if !s.ended || f.zap && !known {
		return false
	}
	got.level = l.atEnd(true)
	if escMsg {
		got.message = unescapeJSON(b, got.message)
	}
	if n := len(got.message); got.weakMsg && n > 0 && got.message[n-1] == '\n' {
		got.message = got.message[:n-1] // Docker's json-file keeps the newline
	}
	got.apply(b, r)
	if o.Fields {
		addJSONFields(b, r, o.MaxFields, taken)
	}
	return true
}

// setHeaderValue keeps the first plain value of a header key.
func (f *found) setHeaderValue(class keyClass, m *member) bool {
	if m.valEsc || len(m.val) == 0 || m.kind != '"' && !(class == keyPID && isDigit(m.kind)) {
		return false
	}
	return f.setHeaderBytes(class, m.val)
}

func (f *found) setHeaderBytes(class keyClass, val []byte) bool {
	var at *[]byte
	switch class {
	case keyHost:
		at = &f.host
	case keyIdentifier:
		at = &f.identifier
	case keyPID:
		at = &f.pid
	case keyMsgID:
		at = &f.msgID
	default:
		return false
	}
	if *at != nil {
		return false
	}
	*at = val
	return true
}

// addJSONFields walks a line that is known to be valid a second time, so that
// no field is added for one that is not.
func addJSONFields(b *record.Batch, r *record.Record, limit int, taken uint64) {
	var s jsonScan
	var m member
	add := fieldAdder{b, r, limit}
	s.open(r.Line)
	for i := uint(0); add.left > 0 && s.next(&m); i++ {
		if i < 64 && taken>>i&1 == 1 {
			continue
		}
		if m.keyEsc {
			m.key = unescapeJSON(b, m.key)
		}
		if m.valEsc {
			m.val = unescapeJSON(b, m.val)
		}
		add.add(m.key, m.val)
	}
}

// levelFinder finds the level among the members of an object, in their order;
// Level and Parse share it so that they agree.
type levelFinder struct {
	level record.Level
	seen  bool // a member was seen
	mongo bool // the line begins as MongoDB's structured log does
	clef  bool // the line begins as Serilog's compact format does
}

func (l *levelFinder) see(m *member, class keyClass) {
	if !l.seen {
		l.seen = true
		l.clef = string(m.key) == "@t"
		l.mongo = string(m.key) == "t" && m.kind == '{' && hasPrefix(m.val, `{"$date"`)
	}
	if l.level != record.LevelUnknown {
		return
	}
	switch class {
	case keyLevel:
		l.level = jsonLevel(m)
	case keyLevelWord:
		if m.kind == '"' && len(m.val) > 0 && isLetter(m.val[0]) {
			l.level = jsonLevel(m)
		}
	case keyMongoLevel:
		if l.mongo {
			l.level = mongoLevel(m)
		}
	case keyOtelLevel:
		l.level = otelLevel(m.val)
	case keyLog:
		l.level = nestedLevel(m)
	}
}

// atEnd returns the level once the object has ended. Serilog leaves out @l
// where it is Information (https://clef-json.org).
func (l *levelFinder) atEnd(ended bool) record.Level {
	if l.clef && ended && l.level == record.LevelUnknown {
		return record.LevelInfo
	}
	return l.level
}

func jsonLevel(m *member) record.Level {
	if m.kind == '"' && !m.valEsc || isDigit(m.kind) {
		return record.ParseLevel(trimSpace(m.val))
	}
	return record.LevelUnknown
}

// mongoLevel takes MongoDB's severities F, E, W, I, and D, D1 to D5.
func mongoLevel(m *member) record.Level {
	if m.kind != '"' || len(m.val) == 0 {
		return record.LevelUnknown
	}
	return record.ParseLevel(m.val[:1])
}

// nestedLevel takes the level of {"log":{"level":"info"}} (ECS).
func nestedLevel(m *member) record.Level {
	var s jsonScan
	var inner member
	if m.kind != '{' || !s.open(m.val) {
		return record.LevelUnknown
	}
	for s.next(&inner) {
		if string(inner.key) == "level" {
			return jsonLevel(&inner)
		}
	}
	return record.LevelUnknown
}

// jsonTime takes a time as text, as a number, as MongoDB's {"$date":"..."}, or
// as Google's {"seconds":1,"nanos":2}.
func jsonTime(m *member, o *Options) (int64, bool) {
	switch {
	case m.kind == '"':
		if m.valEsc {
			return 0, false
		}
		return parseTime(m.val, o)
	case isDigit(m.kind):
		return parseEpoch(m.val)
	case m.kind != '{':
		return 0, false
	}
	var s jsonScan
	var inner member
	if !s.open(m.val) || !s.next(&inner) {
		return 0, false
	}
	switch string(inner.key) {
	case "$date":
		if inner.kind == '"' && !inner.valEsc {
			return parseTime(inner.val, o)
		}
	case "seconds":
		t, ok := parseEpoch(inner.val)
		if ok && isDigit(inner.kind) && s.next(&inner) && string(inner.key) == "nanos" {
			if nanos, exp, ok := decimal(inner.val); ok && exp == 0 && nanos < 1e9 {
				t += nanos
			}
		}
		return t, ok
	}
	return 0, false
}

func hasPrefix(p []byte, prefix string) bool {
	return len(p) >= len(prefix) && string(p[:len(prefix)]) == prefix
}
