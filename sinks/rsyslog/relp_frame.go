package rsyslog

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Limits of RELP. The specification is doc/relp.md of librelp.
const (
	maxTxnr        = 999_999_999 // the next one after it is 1
	maxTxnrDigits  = 9
	maxCommand     = 32
	maxRelpData    = 128 << 10 // octets of data of one frame, in relp_version 1
	keptRelpData   = 1 << 10   // octets of an answer's data that are looked at
	relpOpenOffers = "relp_version=0\nrelp_software=lbshipd\ncommands=syslog"
)

// relpTxnr is the transaction number of the nth command of a connection; the
// first is 0.
func relpTxnr(n int64) int { return int(n%maxTxnr) + 1 }

// appendCommand appends the start of a message's frame, up to where its length comes.
func (e *encoder) appendCommand(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(relpTxnr(e.sent)), 10)
	e.sent++
	return append(dst, " syslog "...)
}

// appendRelpFrame appends a frame: TXNR SP COMMAND SP DATALEN [SP DATA] LF.
func appendRelpFrame(dst []byte, txnr int, command, data string) []byte {
	dst = fmt.Appendf(dst, "%d %s %d", txnr, command, len(data))
	if data != "" {
		dst = append(append(dst, ' '), data...)
	}
	return append(dst, '\n')
}

// relpFrame reads frames out of octets as they come. It needs no memory beyond
// itself, whatever arrives: of the data of a frame it keeps the beginning.
type relpFrame struct {
	txnr   int
	length int // octets of data
	state  relpState
	count  int // digits, letters or octets of the part that is being read
	name   [maxCommand]byte
	named  int
	data   [keptRelpData]byte
	kept   int
}

// relpState is the part of a frame that comes next.
type relpState uint8

const (
	inTxnr relpState = iota
	inCommand
	inLength
	inData
	inTrailer
)

func (f *relpFrame) command() []byte { return f.name[:f.named] }

// text is what was kept of the data.
func (f *relpFrame) text() []byte { return f.data[:f.kept] }

// next takes octets of p until a frame is complete, and returns how many. If
// none is complete, that is all of p. After a complete frame, the next call
// starts another one.
func (f *relpFrame) next(p []byte) (n int, complete bool, err error) {
	for n < len(p) {
		if f.state == inData {
			k := min(f.length-f.count, len(p)-n)
			f.kept += copy(f.data[f.kept:], p[n:n+k])
			n += k
			if f.count += k; f.count == f.length {
				f.state = inTrailer
			}
			continue
		}
		c := p[n]
		n++
		if f.state == inTrailer {
			if c != '\n' {
				return n, false, fmt.Errorf("no line feed at the end of a frame, but %q", c)
			}
			f.state, f.count = inTxnr, 0
			return n, true, nil
		}
		if complete, err = f.header(c); complete || err != nil {
			return n, complete, err
		}
	}
	return n, false, nil
}

// header takes one octet of what stands before the data.
func (f *relpFrame) header(c byte) (complete bool, err error) {
	digit := c >= '0' && c <= '9'
	switch {
	case f.state == inTxnr && digit:
		if f.count == 0 {
			f.txnr, f.length, f.named, f.kept = 0, 0, 0, 0
		}
		f.txnr = f.txnr*10 + int(c-'0')
		if f.count++; f.count > maxTxnrDigits {
			return false, errors.New("a transaction number of more than 9 digits")
		}
	case f.state == inTxnr && c == ' ' && f.count > 0:
		f.state = inCommand
	case f.state == inCommand && isLetter(c):
		if f.named == maxCommand {
			return false, errors.New("a command of more than 32 letters")
		}
		f.name[f.named] = c
		f.named++
	case f.state == inCommand && c == ' ' && f.named > 0:
		f.state, f.count = inLength, 0
	case f.state == inLength && digit:
		f.length = f.length*10 + int(c-'0')
		if f.count++; f.count > maxTxnrDigits || f.length > maxRelpData {
			return false, fmt.Errorf("a frame of more than %d octets", maxRelpData)
		}
	case f.state == inLength && c == ' ' && f.length > 0:
		f.state, f.count = inData, 0
	case f.state == inLength && c == '\n' && f.count > 0 && f.length == 0:
		f.state, f.count = inTxnr, 0
		return true, nil
	default:
		return false, fmt.Errorf("%q where %s was expected", c, [...]string{"a transaction number", "a command", "a length"}[f.state])
	}
	return false, nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// relpCode takes the response code and the words behind it off an answer's data.
func relpCode(data []byte) (code int, words []byte, err error) {
	words, _, _ = bytes.Cut(data, []byte("\n"))
	if len(words) < 3 || len(words) > 3 && words[3] != ' ' {
		return 0, nil, fmt.Errorf("no response code in %.80q", words)
	}
	for _, c := range words[:3] {
		if c < '0' || c > '9' {
			return 0, nil, fmt.Errorf("no response code in %.80q", words)
		}
		code = code*10 + int(c-'0')
	}
	return code, words, nil
}

// relpOffers checks the answer to "open": what a server does not offer back
// must not be used.
func relpOffers(data []byte) error {
	version, syslog := false, false
	for line := range bytes.Lines(data) {
		name, values, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte("="))
		switch string(name) {
		case "relp_version":
			version = true
		case "commands":
			for _, command := range bytes.Split(values, []byte(",")) {
				syslog = syslog || string(command) == "syslog"
			}
		}
	}
	switch {
	case !version:
		return errors.New("the server offers no relp_version")
	case !syslog:
		return errors.New("the server does not offer to take syslog messages")
	}
	return nil
}
