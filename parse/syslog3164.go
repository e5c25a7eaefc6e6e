package parse

import "github.com/lbshipd/lbshipd/record"

// syslog3164Format takes what RFC 3164 describes and what real senders write:
//
//	<PRI>Mon _2 15:04:05 host tag[pid]: message
//
// and any of: no PRI (a file), no time, no host, no tag; a year before or
// behind the time; a fraction or a zone; an ISO 8601 time (rsyslog's
// RSYSLOG_FileFormat); Cisco's sequence number and marks around the time. A
// line needs a PRI or a time to be of this format. A year that is missing is
// taken from when it was first read. Without a PRI the level is unknown.
type syslog3164Format struct{}

// syslogLine is a line taken apart.
type syslogLine struct {
	pri    int
	hasPRI bool
	at     stamp
	timed  bool
	host   []byte
	tag    []byte
	pid    []byte
	msg    int // where the message begins
}

// split3164 takes p apart; false if it is not of this format.
func split3164(p []byte, l *syslogLine) bool {
	pri, i := scanPRI(p)
	l.pri, l.hasPRI = pri, i > 0
	l.msg = i
	if l.hasPRI && i < len(p) && p[i] == ' ' {
		i++
	}
	at := i
	if l.hasPRI {
		at = skipCiscoMarks(p, i)
	}
	end := l.at.scanSyslogTime(p[at:])
	if end == 0 {
		if !l.hasPRI {
			return false
		}
		l.msg = i
		if tag, pid, msg := scanTag(p, i); msg > 0 {
			l.tag, l.pid, l.msg = tag, pid, msg
		}
		return true
	}
	i = at + end
	l.timed = true
	if z := l.at.scanZone(p, i); z > i && z < len(p) && p[z] == ':' {
		i = z // Cisco: "10:11:12.123 UTC: %SYS-5-CONFIG_I: text"
	}
	cisco := i < len(p) && p[i] == ':'
	if cisco {
		i++
	}
	for n := 0; i < len(p) && p[i] == ' ' && n < 2; n++ {
		i++
	}
	l.msg = i
	if tag, pid, msg := scanTag(p, i); msg > 0 {
		l.tag, l.pid, l.msg = tag, pid, msg
		return true
	}
	if cisco {
		return true
	}
	host, next := scanHost(p, i)
	if next == 0 {
		return true
	}
	l.host, l.msg = host, next
	for next < len(p) && p[next] == ' ' {
		next++
	}
	if tag, pid, msg := scanTag(p, next); msg > 0 {
		l.tag, l.pid, l.msg = tag, pid, msg
	}
	return true
}

// skipCiscoMarks skips "123: " and the * or . that marks a clock which is not set.
func skipCiscoMarks(p []byte, i int) int {
	j := i
	for j < len(p) && j < i+10 && isDigit(p[j]) {
		j++
	}
	if j > i && j+1 < len(p) && p[j] == ':' && p[j+1] == ' ' {
		i = j + 2
	}
	if i < len(p) && (p[i] == '*' || p[i] == '.') {
		i++
	}
	return i
}

// scanSyslogTime takes one of the times that syslog lines begin with; a space,
// a colon or the line's end must be behind it.
func (s *stamp) scanSyslogTime(p []byte) int {
	if len(p) < 15 {
		return 0
	}
	if isDigit(p[0]) {
		if p[4] != '-' || p[10] != 'T' {
			return 0
		}
	} else if p[3] != ' ' {
		return 0
	}
	end := s.scanStamp(p)
	if end == 0 || end < len(p) && p[end] != ' ' && p[end] != ':' {
		*s = stamp{}
		return 0
	}
	return end
}

// Level is the severity of the PRI.
func (syslog3164Format) Level(line []byte) record.Level { return priLevel(line) }

func (syslog3164Format) Parse(b *record.Batch, r *record.Record, o *Options) bool {
	var l syslogLine
	if !split3164(r.Line, &l) {
		return false
	}
	l.apply(b, r, o)
	return true
}

func (l *syslogLine) apply(b *record.Batch, r *record.Record, o *Options) {
	got := found{host: l.host, identifier: l.tag, pid: l.pid, message: r.Line[l.msg:]}
	if l.hasPRI {
		got.level = record.FromSeverity(uint8(l.pri & 7))
		r.Facility = uint8(l.pri >> 3)
	}
	if l.timed {
		got.time, got.hasTime = l.at.unix(o)
	}
	r.Flags |= record.SyslogLine
	got.apply(b, r)
}
