"""What a shell needs to complete our words on TAB."""

from __future__ import annotations

from typing import Literal

from hybridsearch.cli.apps import app


@app.command
def completion(shell: Literal["bash", "zsh", "fish", "powershell"], /) -> int:
    """Print a script with which a shell completes commands and settings on TAB.

    Nothing is installed. For this session: source <(hybridsearch completion bash). For good, write
    it where the shell looks: ~/.local/share/bash-completion/completions/hybridsearch for bash,
    _hybridsearch in a folder of $fpath for zsh, ~/.config/fish/completions/hybridsearch.fish for
    fish.

    Parameters
    ----------
    shell
        bash, zsh, fish or powershell.
    """
    print(app.generate_completion(prog_name="hybridsearch", shell=shell))
    return 0
