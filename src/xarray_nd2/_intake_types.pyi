# Types of intake, which has none: only those parts of its classes that this package uses.

from collections.abc import Mapping
from typing import Any, ClassVar

class BaseData:
    structure: ClassVar[set[str]]
    magic: ClassVar[set[Any]]
    mimetypes: ClassVar[str]
    possible_readers: dict[str, Any]

class FileData(BaseData):
    filepattern: ClassVar[str]
    url: str | list[str]
    storage_options: dict[str, Any]

    def __init__(self, url: str | list[str], storage_options: Mapping[str, Any] | None = None) -> None: ...

class FileReader:
    implements: ClassVar[set[type[BaseData]]]
    imports: ClassVar[set[str]]
    output_instance: ClassVar[str]
    func: ClassVar[str]
    url_arg: ClassVar[str]
    storage_options: ClassVar[bool]

    def __init__(self, data: BaseData, **options: Any) -> None: ...
    def read(self, **options: Any) -> Any: ...

class DataSource:
    name: ClassVar[str]
    version: ClassVar[str]
    container: ClassVar[str]
    partition_access: ClassVar[bool]
    storage_options: dict[str, Any]

    def __init__(self, storage_options: dict[str, Any], metadata: Mapping[str, Any] | None = None) -> None: ...
