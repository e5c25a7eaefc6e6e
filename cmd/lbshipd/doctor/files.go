package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
)

// Limits of looking for files.
const (
	maxFiles      = 20_000 // of one source
	maxUnreadable = 10     // that are named, of one source
)

var errEnough = errors.New("enough")

// glob lists the files of a source as whoever runs doctor finds them, and how many directories are in it.
func glob(ctx context.Context, s *config.FileSource) (files []string, dirs int, err error) {
	seen, in := map[string]bool{}, map[string]bool{}
	for _, pattern := range s.Paths {
		base, rest := doublestar.SplitPattern(pattern)
		if _, err := os.Stat(base); err != nil {
			continue
		}
		err := doublestar.GlobWalk(os.DirFS(base), rest, func(name string, d fs.DirEntry) error {
			path := filepath.Join(base, name)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case len(files) >= maxFiles:
				return errEnough
			case d.IsDir() || seen[path] || excluded(path, s.Exclude):
				return nil
			}
			if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
				seen[path], in[filepath.Dir(path)] = true, true
				files = append(files, path)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) && ctx.Err() != nil {
			return files, len(in), fmt.Errorf("looking for %s: %w", pattern, err)
		}
	}
	return files, len(in), nil
}

// excluded reports whether a path is left out, as sources/file does it.
func excluded(path string, patterns []string) bool {
	for _, x := range patterns {
		subject := path
		if !strings.Contains(x, "/") {
			subject = filepath.Base(path)
		}
		if ok, _ := doublestar.Match(x, subject); ok {
			return true
		}
	}
	return false
}

// checkFiles looks whether the files of the sources are there, and can be read.
func checkFiles(ctx context.Context, p *patient, r *result) {
	for _, s := range p.sources() {
		if s.File == nil {
			continue
		}
		files, _, err := glob(ctx, s.File)
		if err != nil {
			r.notMade("%v", err)
		}
		p.lookAtFiles(ctx, r, s, files)
	}
}

func (p *patient) lookAtFiles(ctx context.Context, r *result, s *config.Source, files []string) {
	if len(files) == 0 && ctx.Err() == nil {
		p.noFiles(r, s)
	}
	bad := map[string]int{} // how many, by what is in the way
	for _, path := range files {
		if ctx.Err() != nil {
			r.notMade("not all files of source %q were looked at", s.Name)
			return
		}
		if by, hidden := p.hidden(path); hidden {
			if bad[by]++; bad[by] == 1 {
				r.add(p.hiddenFile(path, by))
			}
			continue
		}
		d, err := p.user.mayRead(path)
		switch {
		case err != nil:
			r.notMade("whether %s may read %s: %v", p.user.name, path, err)
			return
		case d == nil || errors.Is(d.err, unix.ENOENT):
			continue
		}
		if bad[d.at]++; bad[d.at] == 1 && len(bad) <= maxUnreadable {
			r.add(p.unreadableFile(path, s.Name, d))
		}
	}
	if more := len(bad) - maxUnreadable; more > 0 {
		r.notMade("source %q has %d more files that cannot be read", s.Name, more)
	}
}

// noFiles says that there is none, or that nobody knows.
func (p *patient) noFiles(r *result, s *config.Source) {
	for _, pattern := range s.File.Paths {
		base, _ := doublestar.SplitPattern(pattern)
		d, err := p.user.may(base, unix.R_OK|unix.X_OK)
		if err == nil && d != nil && errors.Is(d.err, unix.EACCES) {
			r.add(p.unreadableFile(base, s.Name, d))
			return
		}
		if err != nil || !isRoot() && unix.Access(base, unix.R_OK|unix.X_OK) == unix.EACCES {
			r.notMade("whether there are files at %s: run doctor as root", pattern)
			return
		}
	}
	base, _ := doublestar.SplitPattern(s.File.Paths[0])
	r.add(found("file-none", fmt.Sprintf("source %q", s.Name), "no file is at "+strings.Join(s.File.Paths, ", "),
		run("See what is there.", "ls -l %s", quoted(base)), p.edit("Correct the path, if it is wrong.", config.KindSource, s.Name)))
}

// hidden reports what of the unit keeps a path from the daemon.
func (p *patient) hidden(path string) (by string, hidden bool) {
	if !p.systemd() {
		return "", false
	}
	return p.unit.hides(path)
}

func (p *patient) hiddenFile(path, by string) Finding {
	f := found("file-hidden", path, fmt.Sprintf("%s of %s hides it from the daemon", by, unitName))
	lines := []string{"ProtectHome=read-only"}
	if strings.HasPrefix(by, "PrivateTmp") {
		lines = []string{"PrivateTmp=no"}
	}
	return with(f, dropIn("Show it to the daemon.", "show-files", lines...)...)
}

// unreadableFile says how the daemon gets to read a file: from what gives away least to what gives away most.
func (p *patient) unreadableFile(path, source string, d *denial) Finding {
	what := fmt.Sprintf("the user %s cannot read it", p.user.name)
	if d.dir {
		what = fmt.Sprintf("the user %s may not enter %s", p.user.name, d.at)
	}
	f := found("file-unreadable", path, fmt.Sprintf("%s (source %q)", what, source))
	group, dir := quoted(p.user.group()), filepath.Dir(path)
	acl := fmt.Sprintf("setfacl -R -m g:%s:rX -m d:g:%s:rX %s", group, group, quoted(dir))
	if d.dir && d.at != dir {
		acl = fmt.Sprintf("setfacl -m g:%s:x %s && %s", group, quoted(d.at), acl)
	}
	f = with(f, Remedy{"Let the daemon's group read what is in the folder, and what will be created there (needs the package acl).", acl})
	if st, err := statT(d.at); err == nil && st.Gid != 0 && !p.user.isIn(int(st.Gid)) && (st.Mode&0o040 != 0 || d.dir && st.Mode&0o010 != 0) {
		owner := groupName(int(st.Gid))
		if p.systemd() {
			f = with(f, dropIn("Or put the daemon into the group "+owner+", which may.", "group-"+owner, "SupplementaryGroups="+owner)...)
		} else {
			f = with(f, run("Or put the user into the group "+owner+", which may, and restart the daemon.", "usermod -aG %s %s", quoted(owner), quoted(p.user.name)))
		}
	}
	if p.systemd() {
		return with(f, dropIn("Or let the daemon read every file there is.", "read-every-file", "PrivateUsers=no", "CapabilityBoundingSet=CAP_DAC_READ_SEARCH", "AmbientCapabilities=CAP_DAC_READ_SEARCH")...)
	}
	return f
}
