package parse

import "github.com/lbshipd/lbshipd/record"

// autoFormat tells each line's format by itself, with no memory of the lines
// before it, and takes every line: one that is of no known format is read as
// text (see textLine), and if that finds nothing it stays as it is.
//
// In a CRI envelope the time is the envelope's, and level, message and fields
// are those of the content, unless it is a part of a line.
type autoFormat struct{}

type lineKind uint8

const (
	kindText lineKind = iota
	kindJSON
	kindPRI
	kindCRI
	kindKlog
	kindLogfmt
	kindSyslog
)

// sniffed is what sniffing has taken apart already.
type sniffed struct {
	cri    criLine
	klog   klogLine
	syslog syslogLine
}

// sniff tells the format by the first bytes, and for those that other lines
// resemble, by the whole header.
func sniff(p []byte, s *sniffed) lineKind {
	if len(p) < 2 {
		return kindText
	}
	switch c := p[0]; {
	case c == '{':
		return kindJSON
	case c == '<':
		if _, end := scanPRI(p); end > 0 {
			return kindPRI
		}
	case isDigit(c):
		if len(p) < 25 || p[4] != '-' || p[10] != 'T' {
			return kindText
		}
		if cutCRI(p, &s.cri) {
			return kindCRI
		}
		if isSyslogLine(p, &s.syslog) {
			return kindSyslog
		}
	case isDigit(p[1]) && klogLevel(c) != record.LevelUnknown:
		if splitKlog(p, &s.klog) {
			return kindKlog
		}
	case isLetter(c) || c == '_' || c == '@':
		if c <= 'S' && len(p) >= 16 && p[3] == ' ' && monthAt(p, 0) > 0 && isSyslogLine(p, &s.syslog) {
			return kindSyslog
		}
		if startsWithPair(p) {
			return kindLogfmt
		}
	}
	return kindText
}

// isSyslogLine reports whether a line without a PRI is syslog's: it has a
// time, a host and a tag, and neither of them is a level. Everything less is
// text, whose reader knows more layouts.
func isSyslogLine(p []byte, l *syslogLine) bool {
	*l = syslogLine{}
	if !split3164(p, l) || l.host == nil || l.tag == nil {
		return false
	}
	if isDigit(p[0]) && !l.at.zoned {
		return false
	}
	return record.ParseLevel(l.host) == record.LevelUnknown && record.ParseLevel(l.tag) == record.LevelUnknown
}

// Level gives what Parse gives.
func (autoFormat) Level(line []byte) record.Level {
	var s sniffed
	kind := sniff(line, &s)
	if kind != kindCRI {
		return levelOfKind(kind, line, &s)
	}
	if s.cri.partial {
		return record.LevelUnknown
	}
	content := s.cri.content
	if kind = sniff(content, &s); kind == kindCRI {
		return record.LevelUnknown
	}
	return levelOfKind(kind, content, &s)
}

func levelOfKind(kind lineKind, line []byte, s *sniffed) record.Level {
	switch kind {
	case kindJSON:
		return jsonFormat{}.Level(line)
	case kindPRI:
		return priLevel(line)
	case kindKlog:
		return s.klog.level
	case kindLogfmt:
		return logfmtFormat{}.Level(line)
	case kindText:
		var t textLine
		t.scan(line)
		return t.level
	}
	return record.LevelUnknown
}

// Parse always reports true.
func (autoFormat) Parse(b *record.Batch, r *record.Record, o *Options) bool {
	var s sniffed
	kind := sniff(r.Line, &s)
	if kind != kindCRI {
		parseKind(kind, &s, b, r, o)
		return true
	}
	t, ok := s.cri.at.unix(o)
	if !ok {
		t = r.Time
	}
	s.cri.apply(b, r, o, t)
	if s.cri.partial {
		return true
	}
	if kind = sniff(r.Line, &s); kind == kindCRI {
		return true
	}
	inner := *o
	if o.Fields {
		inner.MaxFields-- // the stream
	}
	parseKind(kind, &s, b, r, &inner)
	r.Time = t
	return true
}

func parseKind(kind lineKind, s *sniffed, b *record.Batch, r *record.Record, o *Options) {
	switch kind {
	case kindJSON:
		if (jsonFormat{}).Parse(b, r, o) {
			return
		}
		// Broken or cut, but what came before may have told the level.
		got := found{level: jsonFormat{}.Level(r.Line)}
		got.apply(b, r)
	case kindPRI:
		if !(syslog5424Format{}).Parse(b, r, o) {
			syslog3164Format{}.Parse(b, r, o)
		}
	case kindKlog:
		s.klog.apply(b, r, o)
	case kindSyslog:
		s.syslog.apply(b, r, o)
	case kindLogfmt:
		if _, ok := (logfmtFormat{}).parse(b, r, o, true); ok {
			return
		}
		// A line that only begins like logfmt: its time may still be found.
		var t textLine
		t.scan(r.Line)
		t.level = logfmtFormat{}.Level(r.Line)
		t.apply(b, r, o)
	default:
		var t textLine
		t.scan(r.Line)
		t.apply(b, r, o)
	}
}
