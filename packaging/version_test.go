package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// A clone, a worktree and an archive of a commit are of the same version, commit and time.
func TestVersionIsTheSameWhereverACommitIs(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{".gitattributes": "../.gitattributes", "packaging/version.sh": "version.sh", "packaging/revision": "revision"}
	for to, from := range files {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, "first", to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(in, script string) string {
		t.Helper()
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
		cmd.Dir = filepath.Join(dir, in)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "TZ=UTC", "LC_ALL=C",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_COMMITTER_DATE=2026-11-21T19:00:00Z", "GIT_CEILING_DIRECTORIES=" + dir}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s in %s: %v", script, in, err)
		}
		return string(out)
	}
	const show = `. packaging/version.sh; echo "$commit $committed $SOURCE_DATE_EPOCH $VERSION"`
	run("first", "git init -q . && git add -A && git commit -q -m one")
	for _, want := range []string{
		`^([0-9a-f]{12})[0-9a-f]{28} 2026-11-21T19:00:00Z 1795287600 0~git20261121\.190000\.[0-9a-f]{12}\n$`,
		`^[0-9a-f]{40} 2026-11-21T19:00:00Z 1795287600 1\.2\.0~rc1\n$`,
		`^[0-9a-f]{40} 2026-11-21T19:00:00Z 1795287600 1\.2\.0~rc1\+1\.g[0-9a-f]{12}\n$`,
	} {
		run("first", "rm -rf ../clone ../archive ../worktree && git worktree prune && git clone -q . ../clone && git worktree add -q --detach ../worktree && mkdir ../archive && git archive HEAD | tar -x -C ../archive")
		got := run("first", show)
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("it is %q, want %s", got, want)
		}
		for _, where := range []string{"clone", "worktree", "archive"} {
			if again := run(where, show); again != got {
				t.Errorf("in the %s it is %q, want %q", where, again, got)
			}
		}
		if tagged := run("first", "git tag"); tagged == "" {
			run("first", "git tag v1.2.0-rc1")
		} else {
			run("first", "git commit -q --allow-empty -m two")
		}
	}
	run("clone", "git checkout -q --detach && echo >>packaging/version.sh")
	if got := run("clone", show); !regexp.MustCompile(`dirty\n$`).MatchString(got) {
		t.Errorf("with changes it is %q", got)
	}
}
