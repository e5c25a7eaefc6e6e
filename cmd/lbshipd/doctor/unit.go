package doctor

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lbshipd/lbshipd/config"
)

// unitName is the daemon's unit.
const unitName = "lbshipd.service"

// unitDirs are where systemd has units, the most important first (systemd.unit(5)).
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// unit is what the daemon's unit and its drop-ins say. It is zero if there is none.
type unit struct {
	path   string
	masked string              // the file that keeps systemd from starting it, "" if there is none
	values map[string][]string // of [Service]; an empty assignment empties the list
}

// loadUnit reads the unit and its drop-ins.
func loadUnit(dirs []string) unit {
	u := unit{values: map[string][]string{}}
	for _, dir := range dirs {
		path := filepath.Join(dir, unitName)
		if masks(path) && u.masked == "" {
			u.masked = path
			continue
		}
		if text, err := readUnit(path); err == nil {
			u.path = path
			u.read(string(text))
			break
		}
	}
	if u.path == "" {
		return u
	}
	dropIns := map[string]string{} // by name: one in a directory of more weight hides the others
	for _, dir := range slices.Backward(dirs) {
		paths, _ := filepath.Glob(filepath.Join(dir, unitName+".d", "*.conf"))
		for _, path := range paths {
			dropIns[filepath.Base(path)] = path
		}
	}
	var names []string
	for name := range dropIns {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if text, err := readUnit(dropIns[name]); err == nil {
			u.read(string(text))
		}
	}
	return u
}

// masks reports whether a file is there in a unit's place so that there is none: systemctl mask.
func masks(path string) bool {
	info, err := os.Stat(path)
	to, _ := os.Readlink(path)
	return to == os.DevNull || err == nil && info.Mode().IsRegular() && info.Size() == 0
}

// maxUnit bounds a unit's file and those of its environment, in bytes.
const maxUnit = 1 << 20

func readUnit(path string) ([]byte, error) {
	text, _, err := config.ReadFile(path, maxUnit)
	return text, err
}

func (u *unit) read(text string) {
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(line, "["):
			section = line
		case !ok || section != "[Service]" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";"):
		case strings.TrimSpace(value) == "":
			delete(u.values, strings.TrimSpace(key))
		default:
			key = strings.TrimSpace(key)
			u.values[key] = append(u.values[key], strings.TrimSpace(value))
		}
	}
}

// is reports whether there is a unit.
func (u *unit) is() bool { return u.path != "" }

// last is the value that counts of what can be given once.
func (u *unit) last(key string) string {
	if all := u.values[key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// on reports whether a switch is on.
func (u *unit) on(key string) bool {
	switch strings.ToLower(u.last(key)) {
	case "yes", "true", "on", "1":
		return true
	}
	return false
}

// identity is whom the unit has the daemon run as.
func (u *unit) identity() (identity, error) {
	name := u.last("User")
	if name == "" {
		name = "root"
	}
	id, err := lookup(name)
	if err != nil {
		return id, err
	}
	if g := u.last("Group"); g != "" {
		if gid, ok := groupNumber(g); ok {
			id.gid = gid
		}
	}
	for _, text := range u.values["SupplementaryGroups"] {
		for _, name := range strings.Fields(text) {
			if gid, ok := groupNumber(name); ok {
				id.groups = append(id.groups, gid)
			}
		}
	}
	for _, text := range u.values["AmbientCapabilities"] {
		if !u.on("PrivateUsers") && (strings.Contains(text, "CAP_DAC_READ_SEARCH") || strings.Contains(text, "CAP_DAC_OVERRIDE")) {
			id.readsAll = true
		}
	}
	id.from = "the user of " + unitName + ", " + id.name
	return id, nil
}

func groupNumber(name string) (int, bool) {
	if g, err := user.LookupGroup(name); err == nil {
		name = g.Gid
	}
	gid, err := strconv.Atoi(name)
	return gid, err == nil
}

// hides reports whether the unit keeps a path from the daemon, and the drop-in that shows it.
func (u *unit) hides(path string) (by string, hidden bool) {
	below := func(dirs ...string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(path, d+"/") })
	}
	switch home := strings.ToLower(u.last("ProtectHome")); {
	case (u.on("ProtectHome") || home == "tmpfs") && below("/home", "/root", "/run/user"):
		return "ProtectHome=" + u.last("ProtectHome"), true
	case u.on("PrivateTmp") && below("/tmp", "/var/tmp"):
		return "PrivateTmp=" + u.last("PrivateTmp"), true
	}
	return "", false
}

// args are the arguments that the unit gives to the daemon, with the variables of
// its environment filled in as systemd does: each alone in a word becomes as many
// words as it has.
func (u *unit) args() []string {
	env := map[string]string{}
	set := func(text string) {
		if name, value, ok := strings.Cut(strings.Trim(text, `"'`), "="); ok {
			env[name] = strings.Trim(value, `"'`)
		}
	}
	for _, text := range u.values["Environment"] {
		if strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "'") {
			set(text)
			continue
		}
		for _, word := range strings.Fields(text) {
			set(word)
		}
	}
	for _, file := range u.values["EnvironmentFile"] {
		text, _, err := config.ReadFile(strings.TrimPrefix(file, "-"), maxUnit)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
				set(line)
			}
		}
	}
	var args []string
	for _, word := range strings.Fields(u.last("ExecStart")) {
		if name, ok := strings.CutPrefix(word, "$"); ok {
			args = append(args, strings.Fields(env[strings.Trim(name, "{}")])...)
			continue
		}
		args = append(args, word)
	}
	if len(args) > 0 {
		args = args[1:] // the program
	}
	return args
}

// dropIn is the commands that give the unit some lines more.
func dropIn(why, name string, lines ...string) []Remedy {
	dir := "/etc/systemd/system/" + unitName + ".d"
	return []Remedy{
		run(why, `mkdir -p %s && printf '[Service]\n%s\n' > %s/%s.conf`, dir, strings.Join(lines, `\n`), dir, name),
		run("Then restart the daemon.", "systemctl daemon-reload && systemctl restart lbshipd"),
	}
}
