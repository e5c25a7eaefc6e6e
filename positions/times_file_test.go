package positions

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTornEndIsCutOff(t *testing.T) {
	r := newTimesRig(t)
	in := r.of("log")
	first, _ := in.At(0, 0, 100, 1)
	r.clock = r.clock.Add(time.Second)
	in.At(0, 100, 200, 2)
	path := filepath.Join(r.dir, timesName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(data) - 1; n >= 0; n-- {
		cut := data[:n:n]
		if n%3 == 0 {
			cut = append(cut, make([]byte, 5000)...) // what some file systems leave behind after a power loss
		}
		if err := os.WriteFile(path, cut, 0o600); err != nil {
			t.Fatal(err)
		}
		r.crash()
		if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 0 || r.Err() != nil {
			t.Fatalf("cut at %d of %d: set aside %v, error %v\n%s", n, len(data), aside, r.Err(), &r.log)
		}
		in := r.of("log")
		if _, end, _ := in.State(); end != 100 && end != 0 || end == 0 && n > bytes.LastIndexByte(data[:len(data)-1], '\n') {
			t.Fatalf("cut at %d of %d: times up to %d", n, len(data), end)
		} else if again, _ := in.At(0, 0, 100, 1); end == 100 && again != first {
			t.Fatalf("cut at %d: %d, was %d", n, again, first)
		}
		in.At(0, 100, 300, 3)
		r.crash()
		if _, end, _ := r.of("log").State(); end != 300 {
			t.Fatalf("cut at %d: what was added later is not there: %d", n, end)
		}
	}
}

func TestDamagedTimesAreSetAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"bit flipped": func(b []byte) []byte { b[bytes.Index(b, []byte("\nc\t"))+8] ^= 1; return b },
		"zeros": func(b []byte) []byte {
			at := bytes.Index(b, []byte("\nc\t"))
			clear(b[at+1 : at+41])
			return b
		},
		"name lost": func(b []byte) []byte { b[len(timesHeader)+4] ^= 1; return b },
		"other":     func(b []byte) []byte { return append([]byte("lbshipd-times 2\n"), b[len(timesHeader):]...) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newTimesRig(t)
			in := r.of("log")
			for n := range int64(5) {
				in.At(0, 100*n, 100*n+100, 1)
				r.clock = r.clock.Add(time.Second)
			}
			last, _ := in.At(0, 450, 500, 1)
			path := filepath.Join(r.dir, timesName)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			r.crash()
			if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 1 {
				t.Errorf("set aside: %v", aside)
			}
			if !strings.Contains(r.log.String(), "damaged") {
				t.Errorf("nothing said: %s", &r.log)
			}
			if r.Err() != nil {
				t.Errorf("it is not written anew: %v", r.Err())
			}
			if again, _ := r.of("log").At(0, 450, 500, 1); name != "other" && name != "name lost" && again != last {
				t.Errorf("what could be read is not used: %d, was %d", again, last)
			}
		})
	}
}

// Shipping goes on while the disk is full, with the same times for what is read
// again; once there is space they survive a crash too.
func TestTimesOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	r := newTimesRig(t)
	if err := unix.Mount("tmpfs", r.dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small tmpfs: %v", err)
	}
	defer unix.Unmount(r.dir, unix.MNT_DETACH)
	r.crash()
	in := r.of("log")
	in.At(0, 0, 10, 0)
	filler := filepath.Join(r.dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	given := map[int64]int64{}
	for n := range int64(200) {
		r.clock = r.clock.Add(time.Second)
		given[10+n], _ = in.At(0, 10+n, 11+n, 0)
	}
	r.tend()
	r.tend()
	if !errors.Is(r.Err(), unix.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", r.Err())
	}
	if n := strings.Count(r.log.String(), "cannot be stored"); n < 1 || n > 2 { // appending, writing anew
		t.Errorf("said %d times: %s", n, &r.log)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.tend()
	if r.Err() != nil {
		t.Errorf("with space again: %v", r.Err())
	}
	r.crash()
	in = r.of("log")
	for offset, want := range given {
		if got, _ := in.At(0, offset, offset+1, 0); got != want {
			t.Fatalf("at %d: %d, was %d", offset, got, want)
		}
	}
	r.Times.close()
}

// What is given out while the file is being rewritten is in the new one.
func TestTimesGivenDuringARewriteAreStored(t *testing.T) {
	r := newTimesRig(t)
	in, other := r.of("log"), r.of("other") // in turn, so that each makes a checkpoint of its own
	r.Times.now = time.Now
	stop, done := make(chan struct{}), make(chan map[int64]int64)
	go func() {
		given := map[int64]int64{}
		for offset := int64(0); ; offset += 10 {
			select {
			case <-stop:
				done <- given
				return
			default:
				if len(given) < maxMarks/4 { // more of them would be thinned
					given[offset], _ = in.At(0, offset, offset+10, 0)
					other.At(0, offset, offset+10, 0)
				}
			}
		}
	}()
	for range 20 {
		if err := r.rewrite(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	given := <-done
	r.crash()
	in = r.of("log")
	if _, end, _ := in.State(); end != int64(10*len(given)) {
		t.Errorf("times up to %d, given up to %d", end, 10*len(given))
	}
	for offset, want := range given {
		if got, _ := in.At(0, offset, offset+10, 0); got != want {
			t.Fatalf("at %d: %d, was %d", offset, got, want)
		}
	}
}

func FuzzTimes(f *testing.F) {
	in := &InputTimes{name: inputName{"s", "a\tb"}, id: 1}
	line := appendInput([]byte(timesHeader), in)
	line = appendMark(line, in, mark{0, 100, 5}, 7)
	line = appendMark(line, in, mark{100, 120, 500}, 7)
	f.Add(line)
	in.era = 2
	f.Add(appendMark(line, in, mark{}, 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(data []byte) *Times {
			times := &Times{now: time.Now, inputs: map[inputName]*InputTimes{}}
			if _, err := times.read(bytes.NewReader(data)); err != nil {
				return nil
			}
			return times
		}
		times := read(data)
		if times == nil {
			return
		}
		again := read(times.encode())
		for n, in := range times.inputs {
			for i := 1; i < len(in.marks); i++ {
				if in.marks[i].offset < in.marks[i-1].until {
					t.Errorf("checkpoints overlap: %v", in.marks)
				}
			}
			if back := again.inputs[n]; back == nil || back.era != in.era || !slices.Equal(back.marks, in.marks) {
				t.Errorf("%v became %v", in, back)
			}
		}
	})
}
