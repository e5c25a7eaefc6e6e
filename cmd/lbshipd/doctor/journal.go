package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lbshipd/lbshipd/config"
)

// journalRoots are where journald keeps this machine's journal.
var journalRoots = []string{"/var/log/journal", "/run/log/journal"}

// maxJournals is how many files of a journal are looked at.
const maxJournals = 2000

// checkJournals looks whether the journals of the sources can be read.
func checkJournals(ctx context.Context, p *patient, r *result) {
	done := map[string]bool{}
	for _, s := range p.sources() {
		if s.Journald != nil && !done[s.Journald.Directory] && ctx.Err() == nil {
			done[s.Journald.Directory] = true
			p.lookAtJournal(r, s)
		}
	}
}

func (p *patient) lookAtJournal(r *result, s *config.Source) {
	roots := journalRoots
	if d := s.Journald.Directory; d != "" {
		roots = []string{d}
	}
	where := fmt.Sprintf("source %q", s.Name)
	var files []string
	var denied *denial
	for _, root := range roots {
		if _, err := os.Stat(root); err != nil {
			continue
		}
		in, d, err := p.journalFiles(root)
		if err != nil {
			r.notMade("whether %s may read the journal: %v", p.user.name, err)
			return
		}
		files = append(files, in...)
		if d != nil {
			denied = d
		}
	}
	readable := 0
	for _, f := range files {
		d, err := p.user.mayRead(f)
		if err != nil {
			r.notMade("whether %s may read the journal: %v", p.user.name, err)
			return
		}
		if d == nil {
			readable++
		} else if denied == nil || strings.HasSuffix(f, "/system.journal") {
			denied = d
		}
	}
	switch {
	case denied != nil && (readable == 0 || strings.HasSuffix(denied.at, "/system.journal")):
		r.add(p.noJournal(where, denied.at))
	case len(files) == 0:
		r.add(found("journal-missing", where, "there is no journal in "+strings.Join(roots, " or "),
			run("See whether journald runs, and where it keeps its files.", "systemctl status systemd-journald && journalctl --disk-usage")))
	}
}

// journalFiles lists the files below a root as the daemon's user finds them.
func (p *patient) journalFiles(root string) (files []string, denied *denial, err error) {
	err = p.user.as(func() {
		dirs := []string{root}
		if subs, err := os.ReadDir(root); err == nil {
			for _, d := range subs {
				if d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
					dirs = append(dirs, filepath.Join(root, d.Name()))
				}
			}
		} else {
			denied = deniedAt(root, 4)
		}
		for _, dir := range dirs {
			entries, err := os.ReadDir(dir)
			if err != nil && denied == nil {
				denied = deniedAt(dir, 4)
			}
			for _, e := range entries {
				if strings.HasSuffix(e.Name(), ".journal") && len(files) < maxJournals {
					files = append(files, filepath.Join(dir, e.Name()))
				}
			}
		}
	})
	return files, denied, err
}

// noJournal says how the daemon gets to read the journal.
func (p *patient) noJournal(where, path string) Finding {
	f := found("journal-no-access", where, fmt.Sprintf("the user %s cannot read %s", p.user.name, path))
	st, err := statT(path)
	group := "systemd-journal"
	if err == nil && st.Mode&0o040 != 0 && st.Gid != 0 {
		group = groupName(int(st.Gid))
	}
	switch {
	case err == nil && (st.Mode&0o040 == 0 || st.Gid == 0) || p.user.inGroup(group):
		dir := filepath.Dir(path)
		return with(f, run("Let the daemon's group read what is there, and what will be.", "setfacl -R -m g:%s:rX -m d:g:%s:rX %s", quoted(p.user.group()), quoted(p.user.group()), quoted(dir)))
	case p.systemd():
		return with(f, dropIn("Put the daemon into the group "+group+".", "journal", "SupplementaryGroups="+group)...)
	}
	return with(f, run("Put the user into the group "+group+".", "usermod -aG %s %s", quoted(group), quoted(p.user.name)), say("Then restart the daemon: a process keeps the groups that it was started with."))
}

// inGroup reports whether it has a group of that name.
func (id *identity) inGroup(name string) bool {
	gid, ok := groupNumber(name)
	return ok && id.isIn(gid)
}
