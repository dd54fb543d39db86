"""Makes `twistd protei-bulk` and `twistd protei-smsc`."""

from twisted.application.service import ServiceMaker

gateway = ServiceMaker("protei-bulk", "protei_bulk.tap", "A gateway for bulk SMS.", "protei-bulk")
smsc = ServiceMaker("protei-smsc", "protei_bulk.simulator.tap", "An SMSC for demos and tests.", "protei-smsc")
