package positions

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The file of Times, byte by byte (every line ends in one \n; fields are parted by one \t):
//
//	lbshipd-times 1
//	i\t<id>\t<source>\t<input>\t<crc>                                  an input
//	c\t<id>\t<era>\t<offset>\t<until>\t<time>\t<tail>\t<crc>           a checkpoint of it
//
// id, era, offset, until and time (Unix ns) are decimal, tail is 16 hex digits;
// source and input are escaped as in the positions file. crc is the CRC-32C of
// the line before it, its last \t included, in 8 hex digits. A line of the
// same era and offset as the one before it of its input makes that one longer;
// one of a later era voids those of former eras, and is no checkpoint itself if
// until is 0. Lines are only ever appended; what is cut short at the end is cut
// off when the file is opened.
const timesHeader = "lbshipd-times 1\n"

const (
	timesName     = "times"
	timesTempName = "times.tmp"
)

// maxTimesLine bounds a line of the file: two escaped names of up to 4 KiB.
const maxTimesLine = 32 << 10

func openTimes(dir string, log *slog.Logger, s *Store) *Times {
	t := &Times{dir: dir, log: log, now: time.Now, store: s, inputs: map[inputName]*InputTimes{}}
	t.load()
	t.tend()
	return t
}

func (t *Times) path() string { return filepath.Join(t.dir, timesName) }

// load reads the file; what is wrong with it never keeps the daemon from its work.
func (t *Times) load() {
	f, err := os.OpenFile(t.path(), os.O_RDWR|os.O_APPEND|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.fail(fmt.Errorf("opening times: %w", err))
		return
	}
	l, err := t.read(f)
	if err == nil && l.damaged() {
		err = fmt.Errorf("%d lines cannot be read, the first of them is line %d; %d do not go with those before them", l.bad, l.firstBad, l.unfit)
	}
	if err != nil {
		f.Close()
		t.setAside(err)
		return
	}
	if l.bad > 0 {
		t.log.Warn("the file of assigned times ended in the middle of a line: that was cut off", "file", t.path())
		if err := f.Truncate(l.good); err != nil {
			f.Close()
			t.fail(fmt.Errorf("cutting times: %w", err))
			return
		}
	}
	// What is needed of it is not known before the inputs are open; its size says nothing about that.
	t.file, t.size, t.least, t.retry = f, l.good, 0, t.now().Add(rewriteAgain)
	if l.good == 0 {
		t.broken = true // not even a header
	}
}

// setAside keeps a damaged file under another name and goes on with what could be read of it.
func (t *Times) setAside(cause error) {
	aside := fmt.Sprintf("%s.damaged-%d", t.path(), t.now().Unix())
	t.log.Error("the file of assigned times is damaged: set aside; lines without a time of their own that are not answered yet may be given other times than before",
		"file", t.path(), "kept_as", aside, "error", cause)
	if err := os.Rename(t.path(), aside); err != nil {
		t.fail(fmt.Errorf("setting damaged times aside: %w", err))
	}
	t.broken = true
}

// loading is the state of reading one file.
type loading struct {
	t        *Times
	ids      map[uint32]*InputTimes
	good     int64 // bytes up to the end of the last good line
	line     int
	bad      int // lines that cannot be read
	firstBad int
	lastGood int
	unfit    int // lines that were written so, and do not go with those before them
}

// damaged reports whether something bad is not just an end that was cut off.
func (l *loading) damaged() bool { return l.unfit > 0 || l.bad > 0 && l.lastGood > l.firstBad }

// read takes in what can be read of the file. The error says that it is none of ours, or cannot be read at all.
func (t *Times) read(r io.Reader) (*loading, error) {
	l := &loading{t: t, ids: map[uint32]*InputTimes{}}
	buf := bufio.NewReaderSize(r, maxTimesLine)
	at := int64(0)
	for {
		line, err := buf.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return l, err
		}
		at += int64(len(line))
		if len(line) > 0 {
			l.line++
			ok := err == nil && l.take(line)
			switch {
			case ok:
				l.good, l.lastGood = at, l.line
			case l.line == 1 && !bytes.HasPrefix([]byte(timesHeader), bytes.TrimRight(line, "\x00")):
				return l, fmt.Errorf("line 1 is %q, want %q", line[:min(len(line), 64)], timesHeader[:len(timesHeader)-1])
			default:
				if l.bad++; l.bad == 1 {
					l.firstBad = l.line
				}
			}
		}
		if err == io.EOF {
			return l, nil
		}
	}
}

// take takes one line in; false if it is not what was written.
func (l *loading) take(line []byte) bool {
	if l.line == 1 {
		return string(line) == timesHeader
	}
	i := bytes.LastIndexByte(line, '\t')
	if i < 0 || len(line)-i != 10 {
		return false
	}
	sum, err := strconv.ParseUint(string(line[i+1:len(line)-1]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[:i+1], castagnoli) {
		return false
	}
	f := bytes.Split(line[:i], []byte("\t"))
	fits := len(f) == 4 && string(f[0]) == "i" && l.takeInput(f) || len(f) == 7 && string(f[0]) == "c" && l.takeMark(f)
	if !fits {
		l.unfit++
	}
	return true
}

func (l *loading) takeInput(f [][]byte) bool {
	id, err := strconv.ParseUint(string(f[1]), 10, 32)
	source, err2 := unescape(string(f[2]))
	input, err3 := unescape(string(f[3]))
	if err != nil || err2 != nil || err3 != nil || id == 0 {
		return false
	}
	in := l.t.named(inputName{source, input})
	in.id = uint32(id)
	l.ids[in.id] = in
	l.t.lastID = max(l.t.lastID, in.id)
	return true
}

func (l *loading) takeMark(f [][]byte) bool {
	id, err := strconv.ParseUint(string(f[1]), 10, 32)
	era, err2 := strconv.ParseUint(string(f[2]), 10, 32)
	tail, err3 := strconv.ParseUint(string(f[6]), 16, 64)
	if err != nil || err2 != nil || err3 != nil {
		return false
	}
	var m mark
	for i, p := range [...]*int64{&m.offset, &m.until, &m.time} {
		if *p, err = strconv.ParseInt(string(f[3+i]), 10, 64); err != nil {
			return false
		}
	}
	in := l.ids[uint32(id)]
	if in == nil || m.offset < 0 || m.until < m.offset {
		return false
	}
	return in.restore(uint32(era), m, tail)
}

// restore takes in a checkpoint that was read; false if it does not fit those before it.
func (in *InputTimes) restore(era uint32, m mark, tail uint64) bool {
	if era < in.era {
		return false
	}
	if era > in.era {
		in.era, in.marks = era, nil
	}
	if m.until == 0 {
		return true
	}
	if n := len(in.marks); n > 0 {
		last := &in.marks[n-1]
		switch {
		case m.offset == last.offset && m.time == last.time && m.until >= last.until:
			in.marks = in.marks[:n-1]
		case m.offset < last.until:
			return false
		}
	}
	in.marks = append(in.marks, m)
	in.tail = tail
	in.all.end = max(in.all.end, m.end())
	return true
}

func appendInput(b []byte, in *InputTimes) []byte {
	from := len(b)
	b = append(b, "i\t"...)
	b = strconv.AppendUint(b, uint64(in.id), 10)
	b = appendEscaped(append(b, '\t'), in.name.source)
	b = appendEscaped(append(b, '\t'), in.name.input)
	return appendSum(b, from)
}

func appendMark(b []byte, in *InputTimes, m mark, tail uint64) []byte {
	from := len(b)
	b = append(b, "c\t"...)
	b = strconv.AppendUint(b, uint64(in.id), 10)
	b = strconv.AppendUint(append(b, '\t'), uint64(in.era), 10)
	b = strconv.AppendInt(append(b, '\t'), m.offset, 10)
	b = strconv.AppendInt(append(b, '\t'), m.until, 10)
	b = strconv.AppendInt(append(b, '\t'), m.time, 10)
	b = appendHex(append(b, '\t'), tail, 16)
	return appendSum(b, from)
}

func appendSum(b []byte, from int) []byte {
	b = append(b, '\t')
	b = appendHex(b, uint64(crc32.Checksum(b[from:], castagnoli)), 8)
	return append(b, '\n')
}

func appendHex(b []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return b
}

// append writes one checkpoint to the file, with the input's name if it is the first. t.mu is held.
func (t *Times) append(in *InputTimes, m mark) {
	b := t.line[:0]
	if t.file == nil && !t.broken {
		t.create()
	}
	if in.id == 0 {
		t.lastID++
		in.id = t.lastID
		b = appendInput(b, in)
	}
	b = appendMark(b, in, m, in.tail)
	t.line = b
	if t.moving {
		t.side = append(t.side, b...)
	}
	if t.broken {
		return
	}
	n, err := t.file.Write(b)
	t.size += int64(n)
	if err != nil {
		t.fail(fmt.Errorf("writing times: %w", err))
	}
}

// create makes the file. t.mu is held.
func (t *Times) create() {
	f, err := os.OpenFile(t.path(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND|unix.O_CLOEXEC, 0o600)
	if err == nil {
		t.file = f
		t.size = int64(len(timesHeader))
		t.least = t.size
		_, err = f.WriteString(timesHeader)
	}
	if err != nil {
		t.fail(fmt.Errorf("making times: %w", err))
	}
}

// fail notes that the file cannot be written: it is written anew as soon as
// that can be done. t.mu is held, or nobody else knows t yet.
func (t *Times) fail(err error) {
	if t.err == nil || t.err.Error() != err.Error() {
		t.log.Error("the times given to lines without one cannot be stored; shipping goes on, and after a crash what is unanswered may be given other times", "error", err)
	}
	t.broken, t.err = true, err
}
