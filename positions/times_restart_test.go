package positions

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// A daemon that is restarted again and again keeps the file of times as small
// as one that runs on: what a restart finds is no measure of what is needed.
func TestTimesDoNotGrowWithRestarts(t *testing.T) {
	dir := t.TempDir()
	clock := time.Now()
	offset := int64(0)
	for range 12 {
		s, _ := open(t, dir)
		s.times.now = func() time.Time { return clock }
		in := s.Times().Of("src", "in", func(p record.Position) (int64, bool) {
			n, err := strconv.ParseInt(string(p), 10, 64)
			return n, err == nil
		})
		for range 2 << 20 / 90 {
			clock = clock.Add(time.Second)
			in.At(0, offset, offset+100, 1)
			offset += 100
		}
		s.Settle([]Move{{Key: Key{"src", "tgt", "in"}, Position: record.Position(strconv.FormatInt(offset, 10))}})
		clock = clock.Add(2 * rewriteAgain)
		s.times.tend()
		in.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, timesName))
	if err != nil || info.Size() > 2*rewriteBytes {
		t.Errorf("the file has %d bytes, one is enough for what is needed: %v", info.Size(), err)
	}
}

// What is dropped was answered according to the positions on disk, not only to
// those in memory: a crash goes back to what is on disk.
func TestTimesThatASavedPositionNeedsAreKept(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	clock := time.Now()
	s.times.now = func() time.Time { return clock }
	key := Key{"src", "tgt", "in"}
	offsetOf := func(p record.Position) (int64, bool) {
		n, err := strconv.ParseInt(string(p), 10, 64)
		return n, err == nil
	}
	in := s.Times().Of("src", "in", offsetOf)
	given := map[int64]int64{}
	for o := int64(0); o < 1000; o += 100 {
		clock = clock.Add(time.Second)
		given[o], _ = in.At(0, o, o+100, 1)
	}
	set(t, s, key, "200") // saved
	s.Settle([]Move{{Key: key, Position: "900"}})
	if err := os.Mkdir(filepath.Join(dir, tempName), 0o700); err != nil { // and now positions cannot be saved
		t.Fatal(err)
	}
	s.times.broken = true
	s.times.tend()
	if s.times.broken {
		t.Fatal("times were not written anew")
	}
	s.lock.Close() // as a SIGKILL does

	s, _ = open(t, dir)
	defer s.lock.Close()
	in = s.Times().Of("src", "in", offsetOf)
	for o := int64(200); o < 1000; o += 100 {
		if at, _ := in.At(0, o, o+100, 1); at != given[o] {
			t.Errorf("the line at %d has another time than before the crash: %d, was %d", o, at, given[o])
		}
	}
}
