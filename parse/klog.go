package parse

import "github.com/lbshipd/lbshipd/record"

// klogFormat takes the header of Kubernetes' klog and of glog:
//
//	I0102 15:04:05.000000   12345 file.go:123] message
//	I20240102 15:04:05.000000 12345 file.cc:123] message   (glog 0.6 and later)
//
// The first byte is the level: I, W, E or F. Where there is no year it is
// taken from when the line was first read. klog's JSON lines are for the json format.
type klogFormat struct{}

// Level looks at the header's shape only as far as to know that it is one.
func (klogFormat) Level(line []byte) record.Level {
	if len(line) < 21 {
		return record.LevelUnknown
	}
	level := klogLevel(line[0])
	if level != record.LevelUnknown && klogClock(line) == 0 {
		return record.LevelUnknown
	}
	return level
}

func klogLevel(c byte) record.Level {
	switch c {
	case 'I':
		return record.LevelInfo
	case 'W':
		return record.LevelWarning
	case 'E':
		return record.LevelError
	case 'F':
		return record.LevelCritical
	}
	return record.LevelUnknown
}

// klogClock returns where the clock begins, or 0 if line has no klog header's
// shape as far as the seconds' point.
func klogClock(line []byte) int {
	i := 6
	if len(line) >= 25 && line[5] != ' ' {
		i = 10
	}
	if line[i-1] != ' ' || line[i+2] != ':' || line[i+5] != ':' || line[i+8] != '.' {
		return 0
	}
	for _, c := range line[1 : i-1] {
		if !isDigit(c) {
			return 0
		}
	}
	return i
}

var klogSource = []byte("caller")

// klogLine is a line taken apart.
type klogLine struct {
	level  record.Level
	at     stamp
	pid    []byte
	source []byte // file:line
	msg    []byte
}

// splitKlog takes line apart; false if it is not of the format.
func splitKlog(line []byte, k *klogLine) bool {
	k.level = klogFormat{}.Level(line)
	if k.level == record.LevelUnknown {
		return false
	}
	clock := klogClock(line)
	ok := false
	if clock == 6 {
		ok = k.at.setDate(0, two(line, 1), two(line, 3))
	} else {
		ok = k.at.setDate(four(line, 1), two(line, 5), two(line, 7)) && k.at.year != 0
	}
	i := 0
	if ok {
		i = k.at.scanClock(line, clock, ':')
	}
	if i == 0 || i >= len(line) || line[i] != ' ' {
		return false
	}
	for i < len(line) && line[i] == ' ' {
		i++
	}
	pid := i
	for digitAt(line, i) {
		i++
	}
	if i == pid || i >= len(line) || line[i] != ' ' {
		return false
	}
	k.pid = line[pid:i:i]
	source := i + 1
	end := klogHeaderEnd(line, source)
	if end < 0 {
		return false
	}
	k.source = line[source:end:end]
	k.msg = line[end+1:]
	if len(k.msg) > 0 && k.msg[0] == ' ' {
		k.msg = k.msg[1:]
	}
	return true
}

func (klogFormat) Parse(b *record.Batch, r *record.Record, o *Options) bool {
	var k klogLine
	if !splitKlog(r.Line, &k) {
		return false
	}
	k.apply(b, r, o)
	return true
}

func (k *klogLine) apply(b *record.Batch, r *record.Record, o *Options) {
	got := found{level: k.level, pid: k.pid, message: k.msg}
	got.time, got.hasTime = k.at.unix(o)
	got.apply(b, r)
	if o.Fields && o.MaxFields > 0 {
		b.AddField(r, klogSource, k.source)
	}
}

// klogHeaderEnd finds the ] behind file:line, which holds no space.
func klogHeaderEnd(line []byte, i int) int {
	colon := false
	for at := i; i < len(line) && i < at+512 && line[i] != ' '; i++ {
		if line[i] == ']' && colon {
			return i
		}
		if line[i] == ':' {
			colon = true
		}
	}
	return -1
}
