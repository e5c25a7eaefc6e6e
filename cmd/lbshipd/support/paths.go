package support

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"
)

// maxMatches bounds how many files of one pattern are listed.
const maxMatches = 200

// paths lists what the configuration and the command line name, with the folders that it is in:
// whether the daemon's user may read a file is seen there. Contents are not looked at.
func (g *gatherer) paths(ctx context.Context, w *writer) error {
	l := &lister{w: w, seen: map[string]bool{}}
	for _, path := range []string{g.settings.Config, g.settings.DataDir, g.settings.Socket, "/etc/lbshipd", "/run/lbshipd", "/var/log/journal", "/run/log/journal"} {
		l.chain(path)
	}
	for _, path := range append(g.settings.Files, g.settings.Secrets...) {
		l.chain(path)
	}
	for _, path := range l.inside("/var/log/journal", "/run/log/journal", "/etc/lbshipd", "/etc/lbshipd/credentials") {
		l.chain(path)
	}
	g.named(w, func(key, path string) {
		switch {
		case ctx.Err() != nil || key == "exclude":
		case key == "paths":
			l.pattern(ctx, path)
		default:
			l.chain(path)
		}
	})
	return ctx.Err()
}

// lister lists each path once.
type lister struct {
	w    *writer
	seen map[string]bool
}

// chain lists a path and all folders above it.
func (l *lister) chain(path string) {
	if path == "" || !filepath.IsAbs(path) || len(l.seen) > maxListed {
		return
	}
	path = filepath.Clean(path)
	if l.seen[path] {
		return
	}
	l.seen[path] = true
	if path != "/" {
		l.chain(filepath.Dir(path))
	}
	l.w.printf("%s\n", list(path))
}

// inside returns the first entries of folders.
func (l *lister) inside(folders ...string) (paths []string) {
	for _, dir := range folders {
		d, err := os.Open(dir)
		if err != nil {
			continue // the folder itself is listed, with the reason
		}
		names, _ := d.Readdirnames(maxMatches)
		d.Close()
		for _, name := range names {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

var errEnough = errors.New("enough")

// pattern lists the files that a pattern matches.
func (l *lister) pattern(ctx context.Context, pattern string) {
	base, _ := doublestar.SplitPattern(filepath.ToSlash(pattern))
	l.chain(base)
	matches := 0
	err := doublestar.GlobWalk(os.DirFS("/"), strings.TrimPrefix(filepath.ToSlash(pattern), "/"), func(path string, _ os.DirEntry) error {
		if ctx.Err() != nil || matches == maxMatches {
			return errEnough
		}
		matches++
		l.chain("/" + path)
		return nil
	}, doublestar.WithNoFollow())
	switch {
	case errors.Is(err, errEnough):
		l.w.printf("%s: more than %d matches, the others are not listed\n", pattern, matches)
	case err != nil:
		l.w.printf("%s: %s\n", pattern, fileError(err))
	case matches == 0:
		l.w.printf("%s: matches nothing that this user may see\n", pattern)
	}
}

// list is one file as ls -l shows it; + stands for an access control list.
func list(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return path + ": " + fileError(err)
	}
	acl := " "
	if n, err := unix.Lgetxattr(path, "system.posix_acl_access", nil); err == nil && n > 0 {
		acl = "+"
	}
	owner, link := "? ?", ""
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = userName(st.Uid) + " " + groupName(st.Gid)
	}
	if info.Mode()&os.ModeSymlink != 0 {
		if to, err := os.Readlink(path); err == nil {
			link = " -> " + to
		}
	}
	return fmt.Sprintf("%s%s %s %d %s %s%s", info.Mode(), acl, owner, info.Size(), info.ModTime().UTC().Format(time.RFC3339), path, link)
}

func userName(id uint32) string {
	n := strconv.Itoa(int(id))
	if u, err := user.LookupId(n); err == nil {
		return u.Username
	}
	return n
}

func groupName(id uint32) string {
	n := strconv.Itoa(int(id))
	if g, err := user.LookupGroupId(n); err == nil {
		return g.Name
	}
	return n
}
