from __future__ import annotations

import pytest

from neptun_mcp.sandbox.state import Store
from tests.support import ContractName, Host


@pytest.fixture
def store(host: Host, contract: ContractName) -> Store:
    """What a sandbox of either contract keeps."""
    return host.site.sandbox(contract)
