package rsyslog

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// parsed is what frames hold, in words.
func parsed(chunks ...[]byte) (frames []string, err error) {
	var f relpFrame
	for _, p := range chunks {
		for len(p) > 0 {
			n, complete, err := f.next(p)
			if err != nil {
				return frames, err
			}
			if n == 0 {
				return frames, fmt.Errorf("nothing was taken of %q", p)
			}
			if p = p[n:]; complete {
				frames = append(frames, fmt.Sprintf("%d %s %d %q", f.txnr, f.command(), f.length, f.text()))
			}
		}
	}
	return frames, nil
}

func TestRelpFrames(t *testing.T) {
	long := strings.Repeat("x", keptRelpData)
	for in, want := range map[string]string{
		"2 rsp 6 200 OK\n":                         `[2 rsp 6 "200 OK"] <nil>`,
		"2 rsp 6 200 OK\n3 rsp 0\n0 serverclose 0": `[2 rsp 6 "200 OK" 3 rsp 0 ""] <nil>`,
		"999999999 rsp 3 a\nb\n":                   `[999999999 rsp 3 "a\nb"] <nil>`,
		"1 rsp 1026 " + long + "yy\n2 rsp 1 a\n":   `[1 rsp 1026 "` + long + `" 2 rsp 1 "a"] <nil>`,
		"007 rsp 006 200 OK\n":                     `[7 rsp 6 "200 OK"] <nil>`,
		"1234567890 rsp 0\n":                       `[] a transaction number of more than 9 digits`,
		" rsp 0\n":                                 `[] ' ' where a transaction number was expected`,
		"x":                                        `[] 'x' where a transaction number was expected`,
		"1  0\n":                                   `[] ' ' where a command was expected`,
		"1 rsp1 0\n":                               `[] '1' where a command was expected`,
		"1 " + strings.Repeat("a", 33):             `[] a command of more than 32 letters`,
		"1 rsp \n":                                 `[] '\n' where a length was expected`,
		"1 rsp 5\n":                                `[] '\n' where a length was expected`,
		"1 rsp 0 \n":                               `[] ' ' where a length was expected`,
		"1 rsp -1 a\n":                             `[] '-' where a length was expected`,
		"1 rsp 131073 ":                            `[] a frame of more than 131072 octets`,
		"1 rsp 0000000000\n":                       `[] a frame of more than 131072 octets`,
		"1 rsp 3 abcd\n":                           `[] no line feed at the end of a frame, but 'd'`,
	} {
		frames, err := parsed([]byte(in))
		if got := fmt.Sprint(frames, " ", err); got != want {
			t.Errorf("%.100q:\ngot  %.200s\nwant %.200s", in, got, want)
		}
	}
}

func TestRelpFrameIsReadBack(t *testing.T) {
	for _, data := range []string{"", "a", "a\nb", "200 OK"} {
		in := appendRelpFrame(nil, 47, "rsp", data)
		s := new(relpServer)
		if txnr, command, got, err := s.command(bufio.NewReader(bytes.NewReader(in))); err != nil || txnr != 47 || command != "rsp" || got != data {
			t.Errorf("%q: %d %q %q, %v", in, txnr, command, got, err)
		}
		if frames, err := parsed(in); err != nil || len(frames) != 1 || frames[0] != fmt.Sprintf("47 rsp %d %q", len(data), data) {
			t.Errorf("%q: %q, %v", in, frames, err)
		}
	}
}

// FuzzRelpFrame: the same frames however the octets are cut, and whatever the
// test server's own reader makes a frame of is one for us.
func FuzzRelpFrame(f *testing.F) {
	for _, s := range []string{"2 rsp 6 200 OK\n3 rsp 0\n", "0 serverclose 0\n", "1 rsp 92 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n",
		"1 rsp 999999999 x", "x", "999999999 rsp 1 \n\n", "2 rsp 18 500 error on connect\n"} {
		f.Add([]byte(s), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		whole, err := parsed(in)
		at := int(cut) % (len(in) + 1)
		var single [][]byte
		for i := range in {
			single = append(single, in[i:i+1])
		}
		for _, chunks := range [][][]byte{{in[:at], in[at:]}, single} {
			if got, again := parsed(chunks...); fmt.Sprint(got) != fmt.Sprint(whole) || fmt.Sprint(again) != fmt.Sprint(err) {
				t.Fatalf("in pieces %q, %v; as a whole %q, %v", got, again, whole, err)
			}
		}
		r := bufio.NewReader(bytes.NewReader(in))
		for i := 0; ; i++ {
			txnr, command, data, bad := new(relpServer).command(r)
			if bad != nil || len(data) > maxRelpData || !letters(command) {
				return
			}
			if want := fmt.Sprintf("%d %s %d %q", txnr, command, len(data), data[:min(len(data), keptRelpData)]); i >= len(whole) || whole[i] != want {
				if err != nil && i >= len(whole) {
					return // we are stricter: digits, and what stands between them
				}
				t.Fatalf("frame %d: want %q, got %q, %v", i, want, whole, err)
			}
		}
	})
}

func letters(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= maxCommand
}

// FuzzRelpAnswers: whatever a server says, never more is confirmed than was
// sent, and nothing without an answer that says so.
func FuzzRelpAnswers(f *testing.F) {
	f.Add([]byte("2 rsp 6 200 OK\n3 rsp 6 200 OK\n"), uint8(3), false)
	f.Add([]byte("3 rsp 6 200 OK\n2 rsp 6 200 OK\n5 rsp 0\n"), uint8(3), true)
	f.Add([]byte("2 rsp 9 500 error\n"), uint8(1), false)
	f.Add([]byte("0 serverclose 0\n"), uint8(0), false)
	f.Fuzz(func(t *testing.T, in []byte, sent uint8, closing bool) {
		r := &relp{base: 1, moved: make(chan struct{}, 1)}
		r.opened.Store(true)
		r.closing.Store(closing)
		r.sent.Store(int64(sent))
		r.take(in)
		acked := r.acked.Load()
		if acked > int64(sent) {
			t.Fatalf("%d of %d are confirmed", acked, sent)
		}
		for n := range acked {
			if txnr := fmt.Sprint(relpTxnr(1 + n)); !bytes.Contains(in, []byte(txnr+" rsp ")) {
				t.Fatalf("%s is confirmed", txnr)
			}
		}
		if n := int64(bytes.Count(in, []byte(" 200"))); acked > n {
			t.Fatalf("%d are confirmed by %d answers", acked, n)
		}
	})
}
