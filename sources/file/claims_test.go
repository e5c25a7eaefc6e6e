package file

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// What copytruncate copied while no daemon ran is read once: the first copy from where the file was read to, the
// next ones whole.
func TestCopytruncateWhileDown(t *testing.T) {
	t.Parallel()
	for _, ending := range []string{"", ".gz"} {
		t.Run("copy "+ending, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			r, down := downRig(t, path)
			lines := numbered(0, 40)
			write(t, path, text(lines[:5]))
			r.start()
			r.expect(lines[:5]...)
			down()
			write(t, path, text(lines[5:10]))
			for i, to := range []string{".2", ".1"} {
				tickOn(t)
				must(t, exec.Command("cp", path, path+to).Run())
				must(t, os.Truncate(path, 0))
				write(t, path, text(lines[10*(i+1):10*(i+2)]))
				if ending != "" {
					rotateInto(t, path+to, path+to+ending)
				}
			}
			r.start()
			r.until("all lines", func() bool { return r.count() >= 30 })
			r.stop()
			got := r.texts()
			slices.Sort(got)
			if !slices.Equal(got, lines[:30]) {
				t.Errorf("got %d lines: %q", len(got), got)
			}
			if len(r.gaps) != 1 || r.gaps[0].Reason != "truncated" || len(r.errs) > 0 {
				t.Errorf("gaps %v, errors %v", r.gaps, r.errs)
			}
		})
	}
}

// A file that is copied and truncated just while a start looks at its directory is read once: the copy, which
// was seen before the truncation and is seen again behind it, is what the file held.
func TestCopytruncateWhileStarting(t *testing.T) {
	t.Parallel()
	for _, at := range []int{-1, 0, 3, 4} { // the listing behind which the copy is compressed, 0: it is not, -1: nor is it copied at once
		t.Run(fmt.Sprintf("compressed at %d", at), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			r, down := downRig(t, path)
			lines := numbered(0, 300)
			write(t, path, text(lines[:100]))
			r.start()
			r.expect(lines[:100]...)
			down()
			write(t, path, text(lines[100:200]))
			listings, tune := 0, r.tune
			r.tune = func(s *source) {
				tune(s)
				s.listed = func(dir string) {
					if dir != filepath.Dir(path) {
						return
					}
					switch listings++; listings {
					case 1:
						if at < 0 {
							must(t, os.WriteFile(path+".1", nil, 0o644))
						} else {
							must(t, exec.Command("cp", path, path+".1").Run())
						}
					case 2: // the copy is in the list that comes next
						must(t, os.WriteFile(filepath.Dir(path)+"/other", nil, 0o644))
					case 3:
						if at < 0 {
							must(t, exec.Command("cp", path, path+".1").Run())
						}
						must(t, os.Truncate(path, 0))
						write(t, path, text(lines[200:]))
						tickOn(t)
						must(t, os.WriteFile(filepath.Dir(path)+"/another", nil, 0o644))
					}
					if listings == at {
						rotateInto(t, path+".1", path+".1.gz")
					}
				}
			}
			r.start()
			r.until("all lines", func() bool { return slices.Contains(r.texts(), lines[299]) && slices.Contains(r.texts(), lines[199]) })
			r.stop()
			got := r.texts()
			slices.Sort(got)
			if !slices.Equal(got, lines) {
				t.Errorf("got %d lines of %d", len(got), len(lines))
			}
			if listings < 4 {
				t.Errorf("the directory was listed %d times", listings)
			}
		})
	}
}

// A short file that is rotated and compressed just while a start looks at its directory, and that was opened before,
// is read once.
func TestShortFileCompressedWhileStarting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r, down := downRig(t, path)
	lines := numbered(0, 15)
	write(t, path, text(lines[:5]))
	r.start()
	r.expect(lines[:5]...)
	down()
	must(t, os.Rename(path, path+".1"))
	write(t, path, text(lines[5:10]))
	listings, tune := 0, r.tune
	r.tune = func(s *source) {
		tune(s)
		s.listed = func(dir string) {
			if dir != filepath.Dir(path) {
				return
			}
			if listings++; listings == 2 {
				rotateInto(t, path, path+".2.gz")
				write(t, path, text(lines[10:]))
			}
		}
	}
	r.start()
	r.until("all lines", func() bool { return r.count() >= 15 && slices.Contains(r.texts(), lines[14]) })
	r.stop()
	if got := r.texts(); len(got) != len(lines) {
		t.Errorf("got %d lines of %d", len(got), len(lines))
	}
	for _, in := range r.inputs {
		if in.(*input).file == nil {
			t.Errorf("%s is read", in.(*input).copies[0].path)
		}
	}
}
